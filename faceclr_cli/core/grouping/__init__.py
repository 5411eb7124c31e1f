"""Groups of embeddings: linkage and nearest-neighbor graphs."""
