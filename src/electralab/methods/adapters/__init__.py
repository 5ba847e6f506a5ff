"""Adapters through PEFT: what is trained beside a frozen model, few-bit storage, merging."""
