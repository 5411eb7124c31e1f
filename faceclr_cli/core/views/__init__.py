"""Augmentation: random views of batches of crops."""
