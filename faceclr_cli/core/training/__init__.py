"""One loop for three tasks."""
