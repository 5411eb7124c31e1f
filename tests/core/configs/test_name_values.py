from __future__ import annotations

import pytest

from faceclr_cli.core.configs.name_values import format_name_values, parse_name_values
from faceclr_cli.core.configs.triplet import TripletConfig


def test_pairs_are_separated_by_commas_or_given_one_by_one() -> None:
    expected = (("drop_rate", 0.1), ("layer", "silu"), ("patch_size", 2), ("qk_norm", True))
    assert parse_name_values(["patch_size=2,drop_rate=0.1", "qk_norm=true", " layer = silu"], "-x") == expected
    assert parse_name_values(format_name_values(expected), "-x") == expected
    assert parse_name_values([], "-x") == ()


@pytest.mark.parametrize("text", ["patch_size", "patch_size=", "=2", "a=1,", "patch size=2", "2=2", ""])
def test_what_is_not_a_pair_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--backbone-args .*: must be NAME=VALUE"):
        TripletConfig(backbone_args=(text,))


def test_a_name_has_one_value() -> None:
    with pytest.raises(ValueError, match="--backbone-args: a is given twice"):
        TripletConfig(backbone_args=("a=1", "a=2"))
