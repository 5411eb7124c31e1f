from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.preparing.ledger import Ledger, Row, RowState

TERMS = {"source": "/photos", "size": 112}
DONE = Row(path="a/1.jpg", state=RowState.DONE, identity="a", output="a/1.jpg", size=9, score=0.9)
ODD = Row(
    path=os.fsdecode(b"caf\xe9/\n.jpg"), state=RowState.FAILED, reason=Reason.EMPTY, identity=os.fsdecode(b"caf\xe9")
)
UNICODE = Row(path="Zoë/笑.png", state=RowState.SKIPPED, reason=Reason.NO_FACE, identity="Zoë")


def test_rows_are_read_as_written(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "m.sqlite", TERMS) as ledger:
        for row in (DONE, ODD, UNICODE):
            ledger.add(row)
    with Ledger.open(tmp_path / "m.sqlite", TERMS) as ledger:
        assert {row.path: row for row in ledger.rows()} == {row.path: row for row in (DONE, ODD, UNICODE)}
        assert ledger.counts() == {RowState.DONE: 1, RowState.FAILED: 1, RowState.SKIPPED: 1}
        assert ledger.reasons() == {Reason.EMPTY: 1, Reason.NO_FACE: 1}
        assert ledger.people() == 1
        ledger.remove([ODD.path, DONE.path])
        assert list(ledger.rows()) == [UNICODE]


def test_the_ledger_can_be_queried_with_sql(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "m.sqlite", TERMS) as ledger:
        ledger.add(UNICODE)
    found = sqlite3.connect(tmp_path / "m.sqlite").execute("SELECT path, reason FROM photos WHERE state = 'skipped'")
    assert found.fetchall() == [("Zoë/笑.png", "no face found")]


def test_a_ledger_of_the_last_release_is_read_and_extended(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with Ledger.open(path, TERMS) as ledger:
        ledger.add(DONE)
    with sqlite3.connect(path) as database:
        for name in ("turn", "bordered"):  # Version 0.1.0 had no such columns.
            database.execute(f"ALTER TABLE photos DROP COLUMN {name}")
    with Ledger.open_to_read(path) as ledger:
        assert list(ledger.rows()) == [DONE]
    turned = replace(DONE, path="a/2.jpg", output="a/2.jpg", turn=90, bordered=1)
    with Ledger.open(path, TERMS) as ledger:
        ledger.add(turned)
    with Ledger.open_to_read(path) as ledger:
        assert list(ledger.rows()) == [DONE, turned]


def test_rows_added_before_an_error_are_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Ledger.open(tmp_path / "m.sqlite", TERMS) as ledger:
        ledger.add(DONE)
        raise KeyboardInterrupt
    with Ledger.open(tmp_path / "m.sqlite", TERMS) as ledger:
        assert list(ledger.rows()) == [DONE]


def test_other_terms_are_refused_once_there_are_faces(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    with Ledger.open(path, TERMS) as ledger:
        ledger.add(UNICODE)
    with Ledger.open(path, TERMS | {"size": 96}) as ledger:  # nothing to mix with so far
        assert list(ledger.rows()) == []
        ledger.add(DONE)
    with pytest.raises(ConfigError, match="made with size 96, not 112"), Ledger.open(path, TERMS):
        pass


def test_a_file_that_is_not_a_ledger_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "m.sqlite").write_text("hello" * 500)
    with pytest.raises(DataError, match="cannot be used as a ledger"), Ledger.open(tmp_path / "m.sqlite", TERMS):
        pass


@pytest.mark.parametrize("damage", [b"CREATE TABL\xf7 photos", b"CREATE TABLE phot\0s", b"\n" * 19])
@pytest.mark.parametrize("opened", [lambda path: Ledger.open(path, TERMS), Ledger.open_to_read])
def test_a_damaged_schema_is_an_error_of_one_line_even_if_it_is_not_text(
    opened: Callable[[Path], AbstractContextManager[Ledger]], damage: bytes, tmp_path: Path
) -> None:
    """SQLite quotes the schema in its message."""
    path = tmp_path / "m.sqlite"
    with Ledger.open(path, TERMS) as ledger:
        ledger.add(DONE)
    content = path.read_bytes()
    assert content.count(b"CREATE TABLE photos") == 1
    path.write_bytes(content.replace(b"CREATE TABLE photos", damage))
    with pytest.raises(DataError, match="cannot be used as a ledger") as error, opened(path):
        pass
    assert "\n" not in str(error.value)


def test_reading_changes_nothing_and_needs_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a caf\xe9?") / "m.sqlite"
    path.parent.mkdir()
    with pytest.raises(DataError, match="no such ledger"), Ledger.open_to_read(path):
        pass
    with Ledger.open(path, TERMS) as ledger:
        ledger.add(DONE)
        ledger.commit()
        with Ledger.open_to_read(path, TERMS) as reader:
            assert list(reader.rows()) == [DONE]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.remove([DONE.path])
    with pytest.raises(ConfigError, match="size 112, not 96"), Ledger.open_to_read(path, TERMS | {"size": 96}):
        pass


def test_all_crops_of_a_photograph_are_counted() -> None:
    group = replace(DONE, more='[{"output": "a/1-2.jpg"}, {"output": "a/1-3.jpg"}]')
    assert DONE.outputs == ("a/1.jpg",)
    assert group.outputs == ("a/1.jpg", "a/1-2.jpg", "a/1-3.jpg")
    assert ODD.outputs == ()
