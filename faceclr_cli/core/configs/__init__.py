"""One frozen dataclass per command, which defines its options, defaults, help texts and limits.

The Typer signature, the table in faceclr.toml, the environment variables and the config in every artifact are derived
from these classes. The modules import the standard library only, to keep `--help` fast.
"""
