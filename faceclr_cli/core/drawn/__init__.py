"""Drawn people for the demo, the tests and the pictures of the documentation."""
