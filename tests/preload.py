"""What processes that tests start have imported already: they are copies of one that has.

There is one such server for each process of pytest, and it imports what it is told before its first copy.
"""

PRELOADED = [
    "torch.distributed",
    "faceclr_cli.core.training.run_worker",
    "faceclr_cli.core.embeddings.embed",
    "tests.faults.test_embed_killed",
]
