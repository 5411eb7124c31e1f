"""Networks made for faces, which timm does not have."""
