"""Benchmarks: encoders on standard sets of verification pairs, side by side."""
