"""Augmentation: random views of a batch of crops."""
