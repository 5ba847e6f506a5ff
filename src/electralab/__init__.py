"""ElectraLab: reproduce, compress and benchmark ELECTRA-class language models."""

__version__ = "0.1.0"
