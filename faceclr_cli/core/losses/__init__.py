"""Losses, and the gathering of embeddings across processes that they need."""
