"""From a crop to an embedding."""
