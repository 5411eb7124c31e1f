"""Evaluation of encoders and their embeddings."""
