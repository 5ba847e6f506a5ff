"""A run as a folder to ship: a graph, its tokenizer and labels, and a model card, checked against the run."""
