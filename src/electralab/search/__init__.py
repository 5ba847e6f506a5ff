"""Searches over the options of a method with Optuna: studies, their journal, logs of trials."""
