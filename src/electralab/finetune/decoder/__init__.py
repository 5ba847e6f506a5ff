"""Decoders that answer a task in words."""
