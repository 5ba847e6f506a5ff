"""What is left of pretraining in a model, measured on held-out text."""
