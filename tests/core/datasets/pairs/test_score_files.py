from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.datasets.pairs.score_files import read_scores
from faceclr_cli.core.errors import DataError


@pytest.mark.parametrize(
    "text",
    [
        "0.25,1\n-1e-3,0\n",
        "0.25\tsame\r\n-1e-3\tdifferent\r\n",
        "\ufeff\nScore, Same\n0.25, True\n\n-1e-3, False",
        "label,similarity\n1,0.25\n0,-1e-3\n",
        'a\tscore\tb\tsame\nx.jpg\t0.25\t"y\n.jpg"\t1\nx.jpg\t-1e-3\tz.jpg\t0\n',
    ],
)
def test_a_score_and_a_label_for_each_pair(tmp_path: Path, text: str) -> None:
    (tmp_path / "scores").write_text(text, encoding="utf-8", newline="")
    scores, same = read_scores(tmp_path / "scores")
    assert scores.dtype == np.float64
    assert same.dtype == np.bool_
    assert (scores.tolist(), same.tolist()) == ([0.25, -0.001], [True, False])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5,1\nhalf,0\n", r"scores:2: the score 'half' is not a number"),
        ("0.5,1\n,0\n", r"scores:2: the score '' is not a number"),
        ("score,same\n0.5,1\nnan,0\n", r"scores:3: the score 'nan' is not a finite number"),
        ("-inf,0\n", r"scores:1: the score '-inf' is not a finite number"),
        ("0.5,1\n0.5,\n", r"scores:2: invalid label ''; expected 1 for the same person or 0"),
        ("0.5,maybe\n", r"scores:1: invalid label 'maybe'"),
        ("0.5\n", r"scores:1: expected 'score,same' with same 1 or 0"),
        ("label,score\n1,0.5\n1,0.5,3\n", r"scores:3: expected 'label,score' with label 1 or 0"),
        ("score,person\n0.5,1\n", r"scores:1: the header needs one column named label or same, has 0"),
        ("score,similarity,same\n", r"scores:1: the header needs one column named score or similarity, has 2"),
        ('0.5,1\n"0.5,0\n', r"scores:2: malformed"),
        ("same,cosine\n1,0.5\n", r"scores:1: the score 'same' is not a number"),
        ("", r"scores: contains no scores"),
        ("\n\n", r"scores: contains no scores"),
        ("score,same\n", r"scores: contains no scores"),
    ],
)
def test_what_cannot_be_measured_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scores").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path / "scores")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        read_scores(tmp_path / "nowhere.csv")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"0.5,1\nx,0\n")))
    with pytest.raises(DataError, match="standard input:2: the score 'x' is not a number"):
        read_scores(Path("-"))


def test_tables_with_semicolons_have_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("similarity;label\n0,75;1\n0,25;0\n")
    scores, same = read_scores(tmp_path / "scores.csv")
    assert (scores.tolist(), same.tolist()) == ([0.75, 0.25], [True, False])
