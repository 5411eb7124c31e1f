"""Folders of faces: layouts, splits, packed crops, augmentation, samplers and pairs."""
