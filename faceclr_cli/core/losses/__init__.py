"""Losses, and the functions that gather embeddings across processes for them."""
