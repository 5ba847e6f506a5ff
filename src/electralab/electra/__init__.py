"""ELECTRA itself, in pure PyTorch: the two encoders, the corruption between them and the joint objective.

Source: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020.
"""
