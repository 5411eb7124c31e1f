"""The `prepare` job: photographs become a folder of aligned faces, with a ledger."""
