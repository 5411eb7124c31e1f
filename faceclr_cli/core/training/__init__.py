"""Training: one loop for all tasks, with launchers, checkpoints and validation."""
