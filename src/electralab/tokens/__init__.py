"""Text to token ids: tokenizers, the token cache and the batches that training reads."""
