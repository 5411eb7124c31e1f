"""If a photograph has several rows in a store, one of them counts, and the user is told which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_choice import choose_faces
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Event, Notice

_NAN = float("nan")


class _Listener:
    def __init__(self) -> None:
        self.notices = list[str]()

    def report(self, event: Event) -> None:
        assert isinstance(event, Notice)
        self.notices.append(event.text)


@pytest.fixture
def rows() -> Rows:
    """The first row of `party` has the highest score, the second the largest box; `other` has a row without box."""
    return Rows(
        embeddings=np.eye(4, dtype=np.float32),
        paths=("ann/party.jpg", "ann/party.jpg", "bob/other.jpg", "ann/party.jpg"),
        identities=("ann", "ann", "bob", "ann"),
        content_hashes=("p", "p", "o", "p"),
        detection_scores=np.array([0.95, 0.8, _NAN, 0.7], np.float32),
        boxes=np.array([[0, 0, 20, 20], [50, 0, 40, 40], [_NAN] * 4, [200, 0, 40, 40]], np.float32),
    )


@pytest.mark.parametrize(
    ("choice", "kept", "said"),
    [("largest", [1, 2], "the largest"), ("best", [0, 2], "the highest detection score"), ("only", [2], "ignored")],
)
def test_one_face_counts_and_it_is_said_which(rows: Rows, choice, kept: list[int], said: str) -> None:
    listener = _Listener()
    chosen = choose_faces(rows, choice, "all.h5", listener)
    np.testing.assert_array_equal(chosen.embeddings, rows.embeddings[kept])
    assert chosen.paths == tuple(rows.paths[row] for row in kept)
    (notice,) = listener.notices
    assert notice.startswith("all.h5: 1 of 2 photographs have several faces")
    assert said in notice


def test_every_face_may_count(rows: Rows) -> None:
    listener = _Listener()
    assert choose_faces(rows, "all", "all.h5", listener) is rows
    assert choose_faces(rows.take([0, 2]), "largest", "one.h5", listener).paths == ("ann/party.jpg", "bob/other.jpg")
    assert not listener.notices


def test_what_a_store_cannot_tell_is_refused(rows: Rows) -> None:
    with pytest.raises(ConfigError, match="does not say which is in the center"):
        choose_faces(rows, "center", "all.h5", _Listener())
    assert choose_faces(rows.take([2]), "center", "one.h5", _Listener()).paths == ("bob/other.jpg",)
    boxless = replace(rows, boxes=np.full((4, 4), _NAN, np.float32))
    with pytest.raises(DataError, match=r"ann/party\.jpg has 3 rows without boxes"):
        choose_faces(boxless, "largest", "all.h5", _Listener())
    assert choose_faces(boxless, "best", "all.h5", _Listener()).paths == ("ann/party.jpg", "bob/other.jpg")
