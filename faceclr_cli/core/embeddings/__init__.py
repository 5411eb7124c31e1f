"""Many crops to an HDF5 store."""
