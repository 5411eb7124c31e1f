"""Invented people, drawn for the demonstration, the tests and the pictures of the documentation."""
