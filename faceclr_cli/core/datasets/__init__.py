"""Data sets of faces: packed crops, samplers, splits and pairs."""
