"""Encoders: crops to embeddings."""
