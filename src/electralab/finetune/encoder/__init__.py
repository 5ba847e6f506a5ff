"""Encoders with a head."""
