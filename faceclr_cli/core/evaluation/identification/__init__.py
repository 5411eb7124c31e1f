"""Face identification: galleries, classifiers, and the open-set protocol."""
