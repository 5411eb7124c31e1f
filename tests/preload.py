"""Imports for the processes that tests start, which are copies of a process that has imported the modules.

There is one such server for each process of pytest. It imports the given modules before it is first copied.
"""

PRELOADED = [
    "torch.distributed",
    "faceclr_cli.core.training.run_worker",
    "faceclr_cli.core.embeddings.embed",
    "tests.faults.test_embed_killed",
]
