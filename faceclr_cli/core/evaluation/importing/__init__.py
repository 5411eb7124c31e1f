"""Import of encoders from other projects, and measurement of their preprocessing."""
