"""Checkpoints of other projects: read without running anything in them, and turned into encoder networks."""
