"""The exception tree matches its drawing."""

from __future__ import annotations

import re

from faceclr_cli.core import errors


def test_every_error_is_drawn_with_its_exit_code() -> None:
    drawn = {name: int(code) for name, code in re.findall(r"(\w+Error) +(\d+) ", errors.__doc__ or "")}
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and name.endswith("Error")}
    assert kinds.keys() == set(re.findall(r"(\w+Error)\b", errors.__doc__ or ""))
    for name, code in drawn.items():
        assert kinds[name].exit_code == code, name


def test_no_error_ends_like_a_verdict() -> None:
    """Exit codes 0 and 1 are the verdicts of verify."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(kind.exit_code > 1 for kind in kinds)
