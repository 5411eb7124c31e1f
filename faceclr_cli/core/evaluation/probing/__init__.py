"""What frozen embeddings know: `linear-eval`."""
