from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from faceclr_cli import __version__
from faceclr_cli.core.embeddings.store import (
    Store,
    is_store,
    read_store,
    select_most_pictured,
    store_required_error,
    write_store,
)
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.fingerprint import Fingerprint

FINGERPRINT = Fingerprint(
    detector="yunet", detector_digest="0" * 16, template="arcface", size=112, interpolation="linear", padding="black"
)


def make_store(identities: list[str | None], dim: int = 4) -> Store:
    count = len(identities)
    rows = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return Store(
        embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        paths=tuple(f"{name or '_'}/{number:02d}.jpg" for number, name in enumerate(identities)),
        identities=tuple(identities),
        content_hashes=tuple(f"{number:064x}" for number in range(count)),
        detection_scores=np.linspace(0.6, 1, count).astype(np.float32),
        boxes=np.arange(4 * count, dtype=np.float32).reshape(-1, 4),
        fingerprint=FINGERPRINT,
        encoder="sface",
        encoder_digest="ab",
        calibration=Calibration(points=(FarPoint(far=1e-3, threshold=0.36, tar=0.98),), source="somewhere"),
        config={"faces": "faces", "max_bad": 0.5},
    )


def _same(one: Store, other: Store) -> bool:
    arrays = {"embeddings", "detection_scores", "boxes", "norms", "quality"}
    for name in arrays:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    ours, theirs = (vars(store) for store in (one, other))
    return {k: v for k, v in ours.items() if k not in arrays} == {k: v for k, v in theirs.items() if k not in arrays}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = make_store(["a", None, "b", "a"])
    store = replace(store, detection_scores=np.array([0.5, np.nan, 1, 0], np.float32))
    write_store(tmp_path / "faces.h5", store)
    assert _same(read_store(tmp_path / "faces.h5"), store)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.h5"]
    assert store.people == ("a", "b")


def test_other_tools_find_what_the_documentation_says(tmp_path: Path) -> None:
    write_store(tmp_path / "faces.h5", make_store(["a", None]))
    with h5py.File(tmp_path / "faces.h5") as file:
        assert set(file) == {"embedding", "path", "identity", "content_hash", "detection_score", "box", "norm"}
        assert (file["embedding"].shape, file["embedding"].dtype) == ((2, 4), np.float32)
        assert list(file["identity"].asstr()) == ["a", ""]
        assert file.attrs["faceclr"] == __version__
        assert {"schema", "fingerprint", "encoder", "encoder_digest", "config", "calibration"} <= set(file.attrs)


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    store = make_store(["caf\udce9", "李雷"])
    store = replace(store, paths=("caf\udce9/01.jpg", "李雷/01.jpg"), encoder="r\udce9n", calibration=None)
    write_store(tmp_path / "faces.h5", store)
    back = read_store(tmp_path / "faces.h5")
    assert (back.paths, back.identities, back.calibration) == (store.paths, store.identities, None)
    assert back.encoder == "r\\udce9n"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change(name: str, value: object):
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = value

    return change


def _attribute(name: str, value: object):
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            if value is None:
                del file.attrs[name]
            else:
                file.attrs[name] = value

    return change


def _elsewhere(name: str, link: object):
    """Replaces a column by a link."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            file.move(name, "there")
            file[name] = link

    return change


def _outside(path: Path) -> None:
    """The numbers are read from any file of the reader."""
    secret = path.with_name("secret")
    secret.write_bytes(bytes(48))
    with h5py.File(path, "r+") as file:
        del file["embedding"]
        file.create_dataset("embedding", (3, 4), np.float32, external=[(str(secret), 0, 48)])


def _virtual(name: str):
    """The rows are read from another store, which may be anywhere."""

    def change(path: Path) -> None:
        target = path.parent / name
        for folder in ("faces.h5.parts", "other.parts"):
            (path.parent / folder).mkdir()
        with h5py.File(target, "w") as other:
            other["embedding"] = np.eye(3, 4, dtype=np.float32)
        layout = h5py.VirtualLayout((3, 4), np.float32)
        layout[:] = h5py.VirtualSource(name, "embedding", (3, 4))
        with h5py.File(path, "r+") as file:
            del file["embedding"]
            file.create_virtual_dataset("embedding", layout)

    return change


def _claim(path: Path) -> None:
    """A file of some kilobytes claims to hold terabytes."""
    with h5py.File(path, "r+") as file:
        for name in list(file):
            del file[name]
        rows = 10**9
        for name, tail, kind in (
            ("embedding", (512,), np.float32),
            ("box", (4,), np.float32),
            ("detection_score", (), np.float32),
            ("path", (), "S100"),
            ("identity", (), "S100"),
            ("content_hash", (), "S64"),
        ):
            file.create_dataset(name, (rows, *tail), kind, chunks=(1024, *tail), compression="gzip")


def _group(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["embedding"]
        file.create_group("embedding")


@pytest.mark.parametrize(
    "damage",
    [
        _elsewhere("embedding", h5py.SoftLink("/there")),
        _elsewhere("path", h5py.ExternalLink("/etc/passwd", "/path")),
        _elsewhere("path", h5py.ExternalLink("faces.h5", "/there")),
        _outside,
        _virtual("other.h5"),
        _virtual("faces.h5.parts/../other.h5"),
        _virtual("other.parts/0.h5"),
        _virtual("faces.h5.parts/0.h5"),
        _claim,
        _group,
        _change("embedding", np.full((3, 4), 7, np.float32)),
        _change("embedding", np.eye(3, 4)[:, :, None]),
        _change("embedding", np.zeros((3, 0), np.float32)),
        _change("box", np.zeros((3, 5), np.float32)),
        _change("box", np.zeros((3, 4), np.int32)),
        _change("identity", np.array([b"a"] * 4)),
        _attribute("flip", None),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("not HDF5"),
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: h5py.File(path, "w").close(),
        _truncate,
        _change("embedding", np.zeros((2, 4), np.float32)),
        _change("embedding", np.zeros(3, np.float32)),
        _change("embedding", np.full((3, 4), np.nan, np.float32)),
        _change("embedding", np.full((3, 4), b"text")),
        _change("path", np.arange(3)),
        _change("detection_score", np.array([b"a", b"b", b"c"])),
        _attribute("schema", 99),
        _attribute("schema", None),
        _attribute("kind", "faces"),
        _attribute("fingerprint", "{}"),
        _attribute("fingerprint", "[1"),
        _attribute("fingerprint", 3),
        _attribute("calibration", "{}"),
        _attribute("config", "[1"),
    ],
)
def test_what_is_not_a_sound_store_is_refused_in_one_line(tmp_path: Path, damage) -> None:
    path = tmp_path / "faces.h5"
    write_store(path, make_store(["a", "b", None]))
    damage(path)
    with pytest.raises(DataError) as caught:
        read_store(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_store_of_the_last_release_still_opens() -> None:
    store = read_store(Path(__file__).parent / "samples" / "store-0.1.h5")
    expected = make_store(["ann", None, "bob", "caf\udce9", "ann"])
    assert _same(
        store, replace(expected, paths=("ann/01.jpg", "_/02.jpg", "bob/03.jpg", "caf\udce9/04.jpg", "ann/01.jpg"))
    )


def test_a_store_whose_columns_differ_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        replace(make_store(["a", "b"]), paths=("one",))


def test_the_people_with_the_most_pictures() -> None:
    store = make_store(["c", "a", "b", None, "b", "a", "c", "c", None, None, None])
    chosen = store.take(select_most_pictured(store, 2))
    assert chosen.identities == ("c", "a", "a", "c", "c")
    assert chosen.paths == tuple(store.paths[row] for row in (0, 1, 5, 6, 7))
    np.testing.assert_array_equal(chosen.embeddings, store.embeddings[[0, 1, 5, 6, 7]])
    assert store.take(select_most_pictured(store, None, 3)).people == ("c",)


def test_a_user_without_a_store_is_told_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "faceclr embed" in store_required_error("tsne")
    (tmp_path / "test.h5").touch()
    assert "type: faceclr tsne test.h5" in store_required_error("tsne")


def test_a_store_is_known_by_its_suffix_or_by_how_it_begins(tmp_path: Path) -> None:
    write_store(tmp_path / "x.emb", make_store(["a"]))
    (tmp_path / "damaged.H5").write_text("no store")
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    os.mkfifo(tmp_path / "pipe")
    found = {path.name for path in tmp_path.iterdir() if is_store(path)}
    assert found == {"x.emb", "damaged.H5"}
    assert is_store(tmp_path / "absent.hdf5")
    assert not is_store(tmp_path / "absent")


def test_people_are_read_in_one_unicode_form(tmp_path: Path) -> None:
    write_store(tmp_path / "s.h5", make_store(["José", "Jose\u0301", None]))
    assert read_store(tmp_path / "s.h5").people == ("José",)
