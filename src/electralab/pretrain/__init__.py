"""ELECTRA pretraining: the loop, its schedule, its checkpoints and its held-out evaluation."""
