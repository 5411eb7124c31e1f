"""Lists of pairs: reading, sampling and auditing."""
