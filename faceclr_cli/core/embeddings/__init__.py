"""Embedding of many crops, and the HDF5 store of embeddings."""
