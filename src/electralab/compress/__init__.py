"""Adapters, low-bit fine-tuning and searches."""
