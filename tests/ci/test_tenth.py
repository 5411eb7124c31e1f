"""`--tenth` divides the tests into ten parts."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = "pytester"
CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def folder(pytester: pytest.Pytester) -> pytest.Pytester:
    """Forty tests below the project's own conftest.py."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyfile(
        test_numbers="import pytest\n\n@pytest.mark.parametrize('n', range(40))\ndef test_n(n):\n    pass\n"
    )
    return pytester


def names(folder: pytest.Pytester, *options: str) -> list[str]:
    lines = folder.runpytest_inprocess("--collect-only", "-q", *options).outlines
    return [line for line in lines if "::" in line]


def test_ten_tenths_are_all_tests(folder: pytest.Pytester) -> None:
    tenths = [names(folder, "--tenth", str(number)) for number in range(10)]
    assert sorted(name for tenth in tenths for name in tenth) == sorted(names(folder))
    assert sum(map(len, tenths)) == 40
    assert max(map(len, tenths)) < 20


def test_a_tenth_without_tests_passes(folder: pytest.Pytester) -> None:
    folder.makepyfile(test_numbers="def test_one():\n    pass\n")
    counts = []
    for number in range(10):
        done = folder.runpytest_inprocess("-q", "--tenth", str(number))
        assert done.ret == pytest.ExitCode.OK
        counts.append(done.parseoutcomes().get("passed", 0))
    assert sorted(counts) == [0] * 9 + [1]


def test_there_are_ten(folder: pytest.Pytester) -> None:
    assert folder.runpytest_inprocess("--tenth", "10").ret == pytest.ExitCode.USAGE_ERROR
