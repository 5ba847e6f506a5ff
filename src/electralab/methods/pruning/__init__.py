"""Weights set to zero, and structures taken out."""
