"""The parts of a drawn portrait; `faces/drawn.py` puts them together."""
