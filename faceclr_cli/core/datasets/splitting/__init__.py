"""The `split` job: identity-disjoint parts, and an audit of what they share."""
