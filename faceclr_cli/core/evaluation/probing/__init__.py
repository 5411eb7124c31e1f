"""Probes of frozen embeddings: linear layer, nearest neighbors and centroids."""
