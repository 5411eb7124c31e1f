"""Inspection and maintenance: describing artifacts, removing people from them, and checking the installation."""
