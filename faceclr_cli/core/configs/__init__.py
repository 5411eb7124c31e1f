"""One frozen dataclass per command: its options, defaults, help texts and limits, each written once.

The Typer signature, the table in faceclr.toml, the environment names and the JSON in every artifact
are all derived from these. Standard library only, so that `--help` is quick.
"""
