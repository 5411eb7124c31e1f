from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceclr_cli.core.encoders.onnx_file import LARGEST, read_onnx, seal
from faceclr_cli.core.errors import ModelError
from tests.core.encoders.toy_graph import CALIBRATION, DIM, SIDE, WEIGHTS, encoder_json, graph, write_toy


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy.onnx")


def test_a_file_says_all_that_encoder_json_says(toy: Path) -> None:
    said = json.loads({entry.key: entry.value for entry in onnx.load(toy).metadata_props}["faceclr"])
    assert said == {**encoder_json(), "precision": "float32"}
    description = read_onnx(toy).description
    assert description.calibration is not None
    assert description.calibration.to_json() == CALIBRATION
    assert (description.fingerprint.size, description.architecture.embedding_dim) == (SIDE, DIM)
    assert description.card.people == {"Zoë": 2, "Ann": 1}


def test_the_tools_of_onnx_take_the_file_as_it_is(toy: Path) -> None:
    onnx.checker.check_model(onnx.load(toy), full_check=True)


def test_rounded_weights_have_a_digest_of_their_own(tmp_path: Path) -> None:
    assert read_onnx(write_toy(tmp_path / "a.onnx")).digest == WEIGHTS
    rounded = read_onnx(write_toy(tmp_path / "b.onnx", precision="float16")).digest
    other = read_onnx(write_toy(tmp_path / "c.onnx", precision="float16", weights={"sha256": "6" * 64})).digest
    assert len({WEIGHTS, rounded, other}) == 3
    assert len(rounded) == 64


def test_no_byte_may_change(toy: Path) -> None:
    whole = toy.read_bytes()
    for place in range(len(whole)):
        toy.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ModelError, match="damaged"):
            read_onnx(toy)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"",
        lambda whole: whole[:1],
        lambda whole: whole[:-1],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole + b"\0",
        lambda whole: whole + whole,
        lambda whole: np.random.default_rng(0).bytes(len(whole)),
        lambda whole: graph().SerializeToString(),
    ],
    ids=["empty", "one byte", "a byte less", "half", "a byte more", "twice", "random", "another's graph"],
)
def test_what_is_damaged_truncated_or_foreign_is_refused(damage: Callable[[bytes], bytes], toy: Path) -> None:
    toy.write_bytes(damage(toy.read_bytes()))
    with pytest.raises(ModelError, match="damaged, truncated or not written by faceclr") as caught:
        read_onnx(toy)
    assert str(caught.value).startswith(str(toy))


def test_paths_that_are_not_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        read_onnx(tmp_path / "toy.onnx")
    with pytest.raises(ModelError, match="not a file"):
        read_onnx(tmp_path)
    with pytest.raises(ModelError, match="not a file"):
        read_onnx(Path("/dev/zero"))


def test_a_file_too_large_is_refused_before_it_is_read(toy: Path) -> None:
    with open(toy, "ab") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(ModelError, match=r"2\.0 GiB, larger than any"):
        read_onnx(toy)


def outside(tensor: TensorProto, path: Path) -> TensorProto:
    """The tensor, its values in a file."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path.name)
    return tensor


@pytest.mark.parametrize("place", ["initializer", "constant", "sparse", "training"])
def test_weights_in_other_files_are_refused_wherever_they_are_named(place: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(12))
    tensor = outside(helper.make_tensor("more", TensorProto.FLOAT, [3], [0, 0, 0]), secret)
    model = graph()
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "constant":
        model.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))
    elif place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    else:
        model.training_info.add().initialization.initializer.append(tensor)
    with pytest.raises(ModelError, match="keeps weights in other files"):
        read_onnx(write_toy(tmp_path / "toy.onnx", model))


def loop() -> onnx.NodeProto:
    """An endless loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still on"])],
        "body",
        [helper.make_tensor_value_info("turn", TensorProto.INT64, []), helper.make_tensor_value_info("on", 9, [])],
        [helper.make_tensor_value_info("still on", 9, [])],
    )
    return helper.make_node("Loop", ["", "true"], [], body=body)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: graph(loop()), "contains nested graphs"),
        (lambda: graph(helper.make_node("EPContext", [], ["x"], domain="com.microsoft")), "operators of com.microsoft"),
        (lambda: graph(kind=TensorProto.FLOAT), "does not map 8-bit crops"),
        (lambda: graph(taken=("batch", SIDE, SIDE - 1, 3)), "does not map 8-bit crops"),
        (lambda: graph(taken=(4, SIDE, SIDE, 3)), "does not map 8-bit crops"),
        (lambda: graph(given=("batch", DIM + 1)), "does not map 8-bit crops"),
        (lambda: graph(given=("batch", DIM, 1)), "does not map 8-bit crops"),
    ],
    ids=["loop", "foreign operator", "input's type", "input's size", "fixed batch", "output's size", "output's rank"],
)
def test_a_graph_that_is_not_ours_is_refused(model: Callable[[], onnx.ModelProto], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        read_onnx(write_toy(tmp_path / "toy.onnx", model()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "faces"},
        {"architecture": {"backbone": "toy"}},
        {"architecture": {**encoder_json()["architecture"], "embedding_dim": float("inf")}},
        {"fingerprint": {**encoder_json()["fingerprint"], "normalisation": "none"}},
        {"fingerprint": None},
        {"calibration": {"threshold": 0.5}},
        {"calibration": {**CALIBRATION, "points": []}},
        {"calibration": {**CALIBRATION, "points": [{"far": 0.001, "threshold": "high", "tar": 0.75}]}},
        {"calibration": {**CALIBRATION, "points": [{"far": 0.001, "threshold": float("nan"), "tar": 0.75}]}},
        {"card": []},
        {"weights": None},
    ],
)
def test_a_description_that_does_not_parse_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read_onnx(write_toy(tmp_path / "toy.onnx", **changes))
    assert str(caught.value).startswith(f"{tmp_path / 'toy.onnx'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("said", ["", "{", "[]", "3", "[" * 100_000, '{"kind": "encoder"}'])
def test_invalid_descriptions_are_refused(said: str, tmp_path: Path) -> None:
    model, path = graph(), tmp_path / "toy.onnx"
    model.metadata_props.add(key="faceclr", value=said)
    content = model.SerializeToString()
    path.write_bytes(content + seal(content))
    with pytest.raises(ModelError) as caught:
        read_onnx(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
