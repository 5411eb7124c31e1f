"""Clustering of embeddings into groups of faces of one person."""
