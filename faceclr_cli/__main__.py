"""The entry point: `faceclr`, and `python -m faceclr_cli`."""


def main() -> None:
    """Runs the command line."""
    # Here, since worker processes import this module again, and have no need of a command line.
    from faceclr_cli.commands.app import main

    main()


if __name__ == "__main__":
    main()
