"""CPU and GPU tuning that changes no number's meaning: oneDNN, AdamW and dropout; torch only."""
