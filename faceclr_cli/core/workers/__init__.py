"""Work in other processes: the pool, a Dask cluster, and how many cores there are."""
