"""From a film to tracks of aligned crops. Does not import torch."""
