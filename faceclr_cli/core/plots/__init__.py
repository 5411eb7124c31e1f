"""Plots and annotated pictures."""
