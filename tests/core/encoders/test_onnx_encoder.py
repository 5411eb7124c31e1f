from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.onnx_file import LARGEST, read_onnx
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.events import Silent
from tests.core.encoders.toy_graph import DIM, SIDE, WEIGHTS, graph, mean_colors, write_toy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy.onnx")


def crops(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_batches_of_any_size_give_what_the_graph_says(count: int, toy: Path) -> None:
    encoder = OnnxEncoder(read_onnx(toy))
    assert (encoder.name, encoder.dim, encoder.digest) == ("toy", DIM, WEIGHTS)
    embeddings = encoder.embed(crops(count))
    assert embeddings.dtype == np.float32
    assert embeddings == pytest.approx(mean_colors(crops(count)), abs=1e-5)
    # A view whose rows don't lie one behind the other is a batch like any.
    assert encoder.embed(crops(count)[:, ::-1]) == pytest.approx(mean_colors(crops(count)), abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 40, 40, 3), (SIDE, SIDE, 3)])
def test_unfit_crops_are_refused(shape: tuple[int, ...], toy: Path) -> None:
    with pytest.raises(ValueError, match=r"toy takes 8-bit crops of \(batch_size, 112, 112, 3\)"):
        OnnxEncoder(read_onnx(toy)).embed(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,1", 2), (None, None), ("many", None), ("0", None)])
def test_it_takes_the_threads_that_it_is_given(
    said: str | None, threads: int | None, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    options = OnnxEncoder(read_onnx(toy))._session.get_session_options()
    assert options.intra_op_num_threads == (threads or len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([("Concat", ["mean", "mean"], ["embeddings"], {"axis": 1})], "embeddings of length 3|cannot run it"),
        ([("Nonsense", ["mean"], ["embeddings"], {})], "cannot run it"),
        ([("Concat", ["mean", "twice"], ["embeddings"], {"axis": 1})], "cannot run it"),
        # More numbers than fit into memory.
        ([("Shape", ["values"], ["s"], {}), ("Mul", ["s", "s"], ["s2"], {}), ("Mul", ["s2", "s2"], ["s4"], {}),
          ("ConstantOfShape", ["s4"], ["embeddings"], {})], "its graph fails|cannot run it"),
    ],
    ids=["longer than it says", "no such operator", "no such value", "no memory"],
)  # fmt: skip
def test_a_graph_that_gives_no_embeddings_is_an_error_of_one_line(
    nodes: list[tuple[str, list[str], list[str], dict[str, int]]], complaint: str, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    extra = [helper.make_node(kind, taken, given, **said) for kind, taken, given, said in nodes]
    path = write_toy(tmp_path / "toy.onnx", graph(*extra, result="unused"))
    with pytest.raises(ModelError, match=complaint) as caught:
        OnnxEncoder(read_onnx(path)).embed(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    # The error contains the message of ONNX Runtime.
    assert capfd.readouterr() == ("", "")


def other_files(path: Path) -> onnx.ModelProto:
    model = graph()
    tensor = helper.make_tensor("more", onnx.TensorProto.FLOAT, [1], [0])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(path))
    model.graph.initializer.append(tensor)
    return model


def hostile(name: str, path: Path) -> None:
    if name == "oversized":
        with open(path, "wb") as file:
            file.truncate(LARGEST + 1)
        return
    if name == "other files":
        write_toy(path, other_files(path))
        return
    whole = write_toy(path).read_bytes()
    damage: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "truncated": lambda: whole[:-100],
        "random": lambda: np.random.default_rng(0).bytes(5000),
        "foreign": lambda: graph().SerializeToString(),
        "pickle": lambda: b"\x80\x04cos\nsystem\n(S'touch unpickled'\ntR.",
    }
    path.write_bytes(damage[name]())


@pytest.mark.parametrize("name", ["empty", "truncated", "random", "foreign", "pickle", "oversized", "other files"])
def test_a_hostile_file_is_exit_4_and_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile(name, tmp_path / "bad.onnx")
    done = CliRunner().invoke(app, ["verify", "a.jpg", "b.jpg", "--model", "bad.onnx"])
    assert done.exit_code == 4, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "bad.onnx: " in done.stderr
    assert not (tmp_path / "unpickled").exists()


SCRIPT = """
import sys
from faceclr_cli.commands.app import main
try:
    main()
except SystemExit as end:
    print([name for name in ("torch", "torchvision", "timm") if name in sys.modules], end.code)
"""


@pytest.mark.parametrize(
    "arguments", [["verify", "0.jpg", "1.jpg", "--threshold", "-1"], ["embed", ".", "-o", "out.h5"]], ids=lambda a: a[0]
)
def test_a_file_runs_without_torch(arguments: list[str], toy: Path, tmp_path: Path) -> None:
    people = tmp_path / "people"
    write_people(people, 1, 2, 0, Silent())
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, photo in enumerate(sorted(people.rglob("*.jpg"))):
        photo.rename(photos / f"{number}.jpg")
    command = [sys.executable, "-c", SCRIPT, *arguments, "--model", str(toy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=photos)
    assert done.stdout.splitlines()[-1:] == ["[] 0"], done.stderr
    assert arguments[0] == "embed" or done.stderr == ""
