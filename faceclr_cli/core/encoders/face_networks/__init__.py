"""Networks that were designed for faces, as their papers describe them."""
