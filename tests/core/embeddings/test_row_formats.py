"""Rows for other tools."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.embed import embed as run
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent

_STRANGE = os.fsdecode(b"caf\xe9")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of three drawn people, one with a name that is not UTF-8, and their store."""
    place = tmp_path_factory.mktemp("place")
    write_people(place / "photos", 3, 2, 0, Silent())
    next((place / "photos").iterdir()).rename(place / "photos" / _STRANGE)
    run(EmbedConfig(faces=place / "photos", out=place / "photos.h5"), Silent())
    return place


def written(place: Path, name: str, tmp_path: Path) -> tuple[Path, Store]:
    result = run(EmbedConfig(faces=place / "photos", out=tmp_path / name, batch_size=4), Silent())
    assert (result.faces, result.people, result.embedded) == (6, 3, 6)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    return tmp_path / name, read_store(place / "photos.h5")


def test_json_lines_say_what_the_store_says(place: Path, tmp_path: Path) -> None:
    path, store = written(place, "rows.jsonl", tmp_path)
    rows = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert tuple(row["path"] for row in rows) == store.paths
    assert {row["identity"] for row in rows} == set(store.identities) >= {_STRANGE}
    assert tuple(row["content_hash"] for row in rows) == store.content_hashes
    # To the last bit: the decimals are enough.
    assert np.array_equal(np.array([row["embedding"] for row in rows], np.float32), store.embeddings)
    assert np.array_equal(np.array([row["box"] for row in rows], np.float32), store.boxes)
    assert np.array_equal(np.array([row["detection_score"] for row in rows], np.float32), store.detection_scores)


def test_csv_has_a_column_for_each_number(place: Path, tmp_path: Path) -> None:
    path, store = written(place, "rows.csv", tmp_path)
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert tuple(row["path"] for row in rows) == store.paths
    vectors = [[float(row[f"e{place}"]) for place in range(store.dim)] for row in rows]
    assert np.array_equal(np.array(vectors, np.float32), store.embeddings)
    assert [float(row["width"]) for row in rows] == store.boxes[:, 2].tolist()


def test_numpy_reads_npz_without_pickle(place: Path, tmp_path: Path) -> None:
    path, store = written(place, "rows.npz", tmp_path)
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["embedding"], store.embeddings)
        assert arrays["path"].tolist() == list(store.paths)
        assert json.loads(str(arrays["about"]))["encoder"] == "sface"


def test_parquet_has_lists_of_fixed_length(place: Path, tmp_path: Path) -> None:
    path, store = written(place, "rows.parquet", tmp_path)
    table = parquet.read_table(path)
    assert np.array_equal(np.stack(table["embedding"].to_numpy()), store.embeddings)
    assert table["identity"].to_pylist().count("caf\\xe9") == 2
    assert json.loads(table.schema.metadata[b"fingerprint"]) == store.fingerprint.to_json()


def test_without_pyarrow_it_is_named(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"faceclr\[parquet\]"):
        run(EmbedConfig(faces=place / "photos", out=tmp_path / "rows.parquet"), Silent())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.npz"])
def test_nothing_remains_without_a_face(name: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"photos/a\.jpg: not a picture"):
        run(EmbedConfig(faces=tmp_path / "photos", out=tmp_path / name), Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"format": "h5", "out": Path("-")}, "cannot be written to standard output"),
        ({"prune": True, "out": Path("a.csv")}, "--prune requires a store"),
        ({"half": True, "format": "npz"}, "--half requires a store"),
        ({"null": True}, "--null requires paths"),
        ({"out": Path("out.xls")}, r"embed does not write \.xls files"),
        ({"out": Path("out.JSON")}, r"embed does not write \.JSON files"),
        ({"out": Path("out.h5.gz")}, r"embed does not write \.gz files"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        EmbedConfig(**options)


def test_a_free_name_is_a_store_and_an_explicit_format_is_believed() -> None:
    assert EmbedConfig(out=Path("x.emb")).file_format == "h5"
    assert EmbedConfig(out=Path("lfw.v1")).file_format == "h5"
    assert EmbedConfig(out=Path("x.txt"), format="jsonl").file_format == "jsonl"
