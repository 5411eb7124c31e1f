"""`faceclr export --int8`: encoders with 8-bit numbers, and what that changes."""
