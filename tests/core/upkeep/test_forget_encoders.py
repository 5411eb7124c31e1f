"""A person is removed from encoders, their graphs and runs, and from leftovers of killed runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.artifacts import _process_namespace, exclusive, read_json, write_json
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import DataError, LockedError
from faceclr_cli.core.plots.map_page import read_page, write_page
from faceclr_cli.core.training.run_folder import write_picture_list
from tests.core.encoders.toy_graph import encoder_json, write_toy
from tests.core.upkeep.test_forget import NAME, forget


def test_an_encoder_loses_the_name_on_its_card(tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "encoder" / "encoder.json", {"card": {"people": {NAME: 3, "ann": 2}}, "x": 1})
    (row,) = forget(tmp_path / "run").rows
    assert (row.kind, row.removed, row.left, row.others) == ("encoder", 1, 0, 1)
    assert read_json(tmp_path / "run" / "encoder" / "encoder.json") == {"card": {"people": {"ann": 2}}, "x": 1}


def test_exported_graphs_lose_the_name_on_their_card_and_stay_as_they_are(tmp_path: Path) -> None:
    """`export` writes a graph into the folder of its encoder, and users copy it to other places."""
    folder = tmp_path / "run" / "encoder"
    write_json(folder / "encoder.json", encoder_json())
    alone = write_toy(tmp_path / "alone.onnx")
    write_toy(folder / "encoder.onnx")
    (folder / "other.onnx").write_bytes(b"of somebody else: Ann")
    faces = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    before = load_encoder(str(alone), "cpu")
    rows = forget(tmp_path / "run", alone, identity="Zo\u00eb").rows
    assert [(row.kind, row.removed, row.left, row.others) for row in rows] == [
        ("encoder", 2, 0, 1),
        ("encoder", 1, 0, 1),
    ]
    for path in (alone, folder / "encoder.onnx"):
        after = load_encoder(str(path), "cpu")
        assert set(after.trained_on or ()) == {"Ann"}
        assert (after.digest, after.fingerprint, after.calibration) == (
            before.digest,
            before.fingerprint,
            before.calibration,
        )
        assert np.array_equal(after.embed(faces), before.embed(faces))
        assert b"Zo" not in path.read_bytes()
    assert (folder / "other.onnx").read_bytes() == b"of somebody else: Ann"


def test_a_run_without_an_encoder_loses_the_list_of_pictures_on_which_it_failed(tmp_path: Path) -> None:
    names = tmp_path / "run" / "not-finite.txt"
    names.parent.mkdir()
    names.write_text(f"set/{NAME}/1.jpg\nset/{NAME}x/1.jpg\nset/ann/{NAME}\n")
    with pytest.raises(DataError, match="no artifact contains"):
        forget(tmp_path / "run", identity="1.jpg")
    assert names.is_file()
    (row,) = forget(tmp_path / "run").rows
    assert (row.kind, row.removed, row.left, row.others) == ("batch", 1, 0, 2)
    assert not names.exists()


@pytest.mark.parametrize("name", ["a\nb", "b\\c", "say \"hi\" 'ho'\t", os.fsdecode(b"caf\xe9"), "Jose\u0301"])
def test_names_that_are_displayed_in_another_form_are_found_by_themselves(name: str, tmp_path: Path) -> None:
    """In a map and in a list of pictures, without another artifact that has the original name."""
    write_picture_list(tmp_path / "run" / "not-finite.txt", [f"{name}/odd\n.jpg", "ann/1.jpg"])
    page = tmp_path / "map.html"
    write_page(
        page, np.zeros((2, 2)), [name, "ann"], [f"{name}/1.jpg", "ann/1.jpg"], [None, None], title="t", subtitle=""
    )
    for path, kind in ((tmp_path / "run", "batch"), (page, "map")):
        (row,) = forget(path, identity=name).rows
        assert (row.kind, row.removed, row.left, row.others) == (kind, 1, 0, 1)
    assert read_page(page)["names"] == ["ann"]
    assert not (tmp_path / "run" / "not-finite.txt").exists()


def test_an_encoder_that_is_being_trained_is_left_alone(tmp_path: Path) -> None:
    """Its run would write the name again."""
    write_json(tmp_path / "run" / "encoder" / "encoder.json", {"card": {"people": {NAME: 3}}})
    with exclusive(tmp_path / "run"), pytest.raises(LockedError):
        forget(tmp_path / "run")


def test_what_killed_runs_left_beside_an_artifact_is_removed(tmp_path: Path) -> None:
    """They hold people who are forgotten later."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    own = f".{dead.pid}-{_process_namespace()}-0a1b2c3d."
    for name in (f"{own}alone.onnx", f"{own}map.html", ".7-00000000-0a1b2c3d.map.html"):
        (tmp_path / name).write_text(NAME)
    os.utime(tmp_path / ".7-00000000-0a1b2c3d.map.html", (0, 0))  # Of another machine, or before this one was started.
    living = tmp_path / ".7-00000000-4e5f6a7b.map.html"
    living.write_text("of another machine")
    write_json(tmp_path / "run" / "encoder" / "encoder.json", encoder_json())
    inside = tmp_path / "run" / "encoder" / f"{own}encoder.onnx"
    inside.write_text(NAME)
    forget(write_toy(tmp_path / "alone.onnx"), tmp_path / "run", identity="Ann")
    assert not inside.exists()
    assert [path for path in tmp_path.glob(".*") if path != living] == []
    assert living.exists()
