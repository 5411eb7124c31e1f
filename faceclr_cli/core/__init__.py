"""The core package: everything that `faceclr` does, without a terminal.

Each command is `run(config, reporter) -> result` here, for a Python user to call.
"""
