"""Face verification: verdicts on pairs of photographs, and verification protocols."""
