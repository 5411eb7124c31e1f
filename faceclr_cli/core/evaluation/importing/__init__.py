"""Import of encoders that others have trained: reading, and measuring their preprocessing."""
