"""Are two photographs of the same person? Verdicts, and measurements on pairs."""
