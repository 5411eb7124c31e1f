"""From a photo to an aligned crop. Does not import torch."""
