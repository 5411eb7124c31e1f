"""Faces of unknown people in groups: `cluster`."""
