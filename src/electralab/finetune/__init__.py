"""Fine-tuning and its baseline: labelled text and a model go in, a run record comes out."""
