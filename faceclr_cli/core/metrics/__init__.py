"""Arrays to numbers. NumPy and scikit-learn, no torch."""
