"""The `split` job: parts with different people, and a search for what they share."""
