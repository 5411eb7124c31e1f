"""From stores and pairs to results."""
