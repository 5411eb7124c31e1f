from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.foreign_graph import RAW, read_foreign_graph
from faceclr_cli.core.evaluation.importing.graph_outputs import choose_output
from faceclr_cli.core.faces.weights import YUNET
from tests.core.evaluation.importing.foreign_files import SIDE, Trained, untrained, write_model


@pytest.fixture(scope="module")
def net() -> Trained:
    return untrained()


def changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Nonsense"


def external_data(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def classifier(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "Softmax"


def detector(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")


def gray(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def strings(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


PHASE = helper.make_tensor_value_info("phase", TensorProto.FLOAT, [1])
USES_PHASE = helper.make_node("Identity", ["phase"], ["unused_phase"])

BAD: dict[str, tuple[dict[str, Any], Callable[[onnx.ModelProto], None] | None, str]] = {
    "custom operator": ({}, custom_operator, "has operators of com.example"),
    "unknown operator": ({}, unknown_operator, "ONNX Runtime cannot run it"),
    "external data": ({}, external_data, "keeps weights in other files"),
    "two inputs": ({"before": [USES_PHASE], "inputs": [PHASE]}, None, "has 2 inputs without a default (data, phase)"),
    "not square": ({"size": (112, 96)}, None, "its input is not square (112 x 96)"),
    "huge": ({"size": (2048, 2048)}, None, "its input has 2048 x 2048 pixels; face encoders take 16 to 512"),
    "gray": ({}, gray, "its input data has the shape (?, 1, 112, 112), not that of pictures"),
    "text": ({}, strings, "its input is of the type string"),
    "probabilities": ({}, classifier, "not a face encoder: its output embedding holds the probabilities"),
    "logits": ({"name": "logits"}, None, "not a face encoder: its output logits has the name of a classifier's scores"),
    "maps": ({}, detector, "has 16 x 14 x 14 values for a picture, as the maps of a detector have"),
    "old": ({"opset": 6}, None, "opset 6 is too old"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_an_encoder_is_exit_4_and_one_line(name: str, net: Trained, tmp_path: Path) -> None:
    options, change, complaint = BAD[name]
    source = write_model(tmp_path / "theirs.onnx", net, **options)
    if change is not None:
        changed(source, change)
    before = sorted(tmp_path.iterdir())
    words = ["import", str(source), "-o", str(tmp_path / "ours"), "--color", "rgb", "--scale", "127.5"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (4, "", 1), done.stderr
    assert complaint in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its input has 640 x 640 pixels"):
        read_foreign_graph(YUNET.path())


@pytest.mark.parametrize(
    "content", [b"", b"hello", pickle.dumps({"a": 1}), np.random.default_rng(0).bytes(5000)], ids=range(4)
)
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "theirs.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX model, or damaged"):
        read_foreign_graph(tmp_path / "theirs.onnx")
    with pytest.raises(ModelError, match="no such file"):
        read_foreign_graph(tmp_path / "missing.onnx")


def test_a_size_that_the_file_does_not_say_must_be_given(net: Trained, tmp_path: Path) -> None:
    source = write_model(tmp_path / "theirs.onnx", net, size=("H", "W"))
    with pytest.raises(ConfigError, match="its input has no fixed size; give --size"):
        read_foreign_graph(source)
    graph = read_foreign_graph(source, size=SIDE)
    assert (graph.side, graph.layout) == (SIDE, "nchw")
    fixed = write_model(tmp_path / "fixed.onnx", net)
    with pytest.raises(ConfigError, match=r"--size 160: the input of .*fixed\.onnx has 112 x 112 pixels"):
        read_foreign_graph(fixed, size=160)


def test_one_of_several_outputs_is_named(net: Trained, tmp_path: Path) -> None:
    def twice(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Neg", ["embedding"], ["other"]))
        model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, None))

    source = changed(write_model(tmp_path / "theirs.onnx", net), twice)
    with pytest.raises(ConfigError, match="give --output embedding or --output other"):
        read_foreign_graph(source)
    with pytest.raises(ConfigError, match=r"--output third: .* has no such output; it has embedding, other"):
        read_foreign_graph(source, output="third")
    own = InputNormalization()
    rows = read_foreign_graph(source, output="other").open().embed(net.crops[:3], own)
    assert np.sum(rows * net.embed(net.crops[:3]), axis=1) == pytest.approx(-1, abs=1e-4)


def test_weights_that_are_listed_as_inputs_are_defaults(net: Trained, tmp_path: Path) -> None:
    """Files before IR version 4 list weights as inputs, and SFace lists inputs that no node uses."""

    def listed(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        model.graph.input.append(helper.make_tensor_value_info("nothing", TensorProto.FLOAT, [1]))

    graph = read_foreign_graph(changed(write_model(tmp_path / "theirs.onnx", net), listed))
    assert graph.input == "network/data"


def test_functions_are_inlined(net: Trained, tmp_path: Path) -> None:
    def with_function(model: onnx.ModelProto) -> None:
        last = model.graph.node[-1]
        last.op_type, last.domain = "Same", "theirs"
        inner = [helper.make_node("Identity", ["x"], ["y"])]
        opsets = [helper.make_opsetid("", 13)]
        model.functions.append(helper.make_function("theirs", "Same", ["x"], ["y"], inner, opsets))
        model.opset_import.append(helper.make_opsetid("theirs", 1))

    source = changed(write_model(tmp_path / "theirs.onnx", net), with_function)
    rows = read_foreign_graph(source).open().embed(net.crops[:2], InputNormalization())
    assert np.sum(rows * net.embed(net.crops[:2]), axis=1) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("batch", [1, 4, "N"])
def test_batches(batch: int | str, net: Trained, tmp_path: Path) -> None:
    graph = read_foreign_graph(write_model(tmp_path / "theirs.onnx", net, batch=batch))
    assert graph.batched
    assert graph.open().embed(net.crops[:0], RAW).shape == (0, 32)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((512,), True),
        ((512, 1, 1), True),
        ((1, 1, 512), True),
        ((1000,), False),
        ((400, 1), False),
        ((), False),
        ((10, 512), False),
    ],
)
def test_an_embedding_is_one_row(shape: tuple[int, ...], fits: bool) -> None:
    """400 rows of one value are the scores of a detector, and 1000 values the classes of ImageNet."""
    outputs = [helper.make_tensor_value_info("p/out", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph([], "theirs", [], outputs))
    if fits:
        assert choose_output({"p/out": shape}, model, "p/", None, "theirs.onnx") == ("p/out", 512)
    else:
        with pytest.raises(ModelError, match=r"theirs\.onnx: not a face encoder: its output out ha"):
            choose_output({"p/out": shape}, model, "p/", None, "theirs.onnx")
    if shape == (1000,):
        assert choose_output({"p/out": shape}, model, "p/", "out", "theirs.onnx") == ("p/out", 1000)
