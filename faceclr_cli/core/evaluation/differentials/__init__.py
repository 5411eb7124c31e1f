"""Differentials: error rates of groups of people at a common threshold."""
