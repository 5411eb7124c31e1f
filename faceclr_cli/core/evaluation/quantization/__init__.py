"""`faceclr export --int8`: encoders with 8-bit numbers, and the effects of quantization."""
