"""The entry point: `faceclr`, and `python -m faceclr_cli`."""


def main() -> None:
    """Runs the command line."""
    # Imported here, since worker processes import this module again, and do not need the command line.
    from faceclr_cli.commands.app import main

    main()


if __name__ == "__main__":
    main()
