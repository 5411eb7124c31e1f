"""`python -m faceclr_cli` is `faceclr`."""

from faceclr_cli.commands.app import main

if __name__ == "__main__":
    main()
