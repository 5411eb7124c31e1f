"""Clustering of faces into groups of one person each."""
