"""Execution in other processes: the process pool, the Dask cluster, and the machine's capacity."""
