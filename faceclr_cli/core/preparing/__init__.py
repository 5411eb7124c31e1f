"""The `prepare` job: photos become a folder of aligned faces and a ledger."""
