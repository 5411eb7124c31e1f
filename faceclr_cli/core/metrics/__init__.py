"""Metrics: arrays to numbers, with NumPy and scikit-learn. Does not import torch."""
