"""Who is in a photograph? Galleries, classifiers, and open-set measurements."""
