"""Artifacts as wholes: what they say of themselves."""
