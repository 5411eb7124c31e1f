"""Embeddings in two dimensions: `tsne`."""
