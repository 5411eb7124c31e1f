"""Synthetic people, drawn for the demo, the tests and the pictures of the documentation."""
