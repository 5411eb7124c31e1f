from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.configs.info import InfoConfig
from faceclr_cli.core.encoders import weight_overflow
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.onnx_file import read_onnx, write_onnx
from faceclr_cli.core.errors import ConfigError, DataError, FaceclrError, ModelError
from faceclr_cli.core.evaluation.importing.import_encoder import import_encoder
from faceclr_cli.core.evaluation.quantization import quantization_report, quantized_export
from faceclr_cli.core.evaluation.quantization.quantized_export import Int8ExportResult, export_int8
from faceclr_cli.core.events import Event, Notice, Silent
from faceclr_cli.core.metrics.roc import every_pair, tar_at_far
from faceclr_cli.core.upkeep.info import info
from tests.core.evaluation.importing.foreign_files import EACH, PEOPLE, Trained, write_model
from tests.docs.json_schemas import VALIDATORS


class Listening:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice) and event.level == "warning":
            self.warnings.append(event.text)


def bring_in(folder: Path, trained: Trained, **form: Any) -> Path:
    source = write_model(folder / "theirs.onnx", trained, **form)
    color = "bgr" if form.get("bgr") else "rgb"
    import_encoder(ImportConfig(source=str(source), out=folder / "ours", color=color, scale="127.5"), Silent())
    return folder / "ours"


@pytest.fixture(scope="module")
def desk(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder in `ours`, and its 8-bit form, which the command line wrote."""
    folder = tmp_path_factory.mktemp("desk")
    bring_in(folder, trained, bgr=True)
    line = ["export", str(folder / "ours"), "--int8", "--faces", str(trained.faces), "--json"]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.stderr
    VALIDATORS["export-int8"].validate(json.loads(done.stdout))
    (folder / "said.json").write_text(done.stdout)
    return folder


@pytest.fixture
def ours(desk: Path, tmp_path: Path) -> Path:
    shutil.copytree(desk / "ours", tmp_path / "ours", ignore=shutil.ignore_patterns("*int8*"))
    return tmp_path / "ours"


def test_the_file_has_8_bit_weights_in_standard_operators(desk: Path) -> None:
    path = desk / "ours" / "encoder-int8.onnx"
    model = onnx.load(path)
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 and np.prod(tensor.dims) > 64]
    assert weights and {tensor.data_type for tensor in weights} == {TensorProto.INT8}
    # With 8 bits, sums of products overflow on processors without VNNI.
    assert max(abs(numpy_helper.to_array(tensor).astype(int)).max() for tensor in weights) <= 64
    assert {node.domain for node in model.graph.node} == {""}
    assert {each.domain for each in model.opset_import} <= {"", "ai.onnx"}
    before = desk / "ours" / "encoder.onnx"
    assert path.stat().st_size < 0.45 * before.stat().st_size  # the description is text of a few kilobytes
    assert read_onnx(path).precision == "int8"


def test_the_report_is_what_both_files_give_on_faces_of_other_people(desk: Path, trained: Trained) -> None:
    said = json.loads((desk / "said.json").read_text())
    report, folder = said["report"], desk / "ours"
    scaling = PEOPLE // 5
    assert (said["scaling_faces"], report["faces"]) == (scaling * EACH, (PEOPLE - scaling) * EACH)
    assert report["people"] == PEOPLE - scaling
    before, after = load_encoder(str(folder), "cpu"), load_encoder(str(folder / "encoder-int8.onnx"), "cpu")
    chosen = np.random.default_rng(0).permutation(PEOPLE)[scaling:]  # the people that were not quantized with
    rows = np.concatenate([np.arange(EACH) + who * EACH for who in chosen])
    labels = rows // EACH
    old, new = before.embed(trained.crops[rows]), after.embed(trained.crops[rows])
    cosines = np.sum(old * new, axis=1)
    assert report["cosine"] == pytest.approx(cosines.mean(), abs=1e-5)
    assert report["least_cosine"] == pytest.approx(cosines.min(), abs=1e-5)
    assert 0.95 < cosines.mean() < 0.999999
    for rate in report["rates"]:
        for vectors, suffix in ((old, "_before"), (new, "")):
            point = tar_at_far(*every_pair(vectors, labels), rate["far"])
            assert rate[f"tar{suffix}"] == pytest.approx(point.tar, abs=1e-9)
            assert rate[f"threshold{suffix}"] == pytest.approx(point.threshold, abs=1e-5)
    assert [each["batch_size"] for each in said["speed"]] == [1, 64]
    assert all(each["ratio"] > 0 for each in said["speed"])
    assert after.calibration is not None
    assert [point.threshold for point in after.calibration.points] == [rate["threshold"] for rate in report["rates"]]
    assert said["calibration"] == after.calibration.to_json()
    stored = read_onnx(folder / "encoder-int8.onnx").description.content["quantization"]
    assert report.items() <= stored.items()
    assert (stored["source"], stored["scaling_faces"]) == ("faces", said["scaling_faces"])


def test_it_is_another_encoder_with_thresholds_of_its_own(desk: Path) -> None:
    folder = desk / "ours"
    before, after = load_encoder(str(folder), "cpu"), load_encoder(str(folder / "encoder-int8.onnx"), "cpu")
    assert before.digest != after.digest
    assert before.fingerprint == after.fingerprint
    described = info(InfoConfig(path=folder / "encoder-int8.onnx"), Silent())
    assert (described.about["precision"], described.about["digest"]) == ("int8", after.digest)
    assert after.name == "ours-int8"
    # The folder has none of its own; the thresholds of the 8-bit file come from its report.
    assert before.calibration is None and after.calibration is not None
    assert "faces" in after.calibration.source


def test_faces_decide_the_digest(desk: Path, ours: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_report, "_speed_ratio", lambda before, after, batch: 1.5)
    listening = Listening()
    result = export_int8(ExportConfig(run=ours, int8=True, faces=trained.faces, seed=1), listening)
    assert read_onnx(result.out).digest != read_onnx(desk / "ours" / "encoder-int8.onnx").digest
    assert not any("faster" in text for text in listening.warnings)


@pytest.mark.parametrize(
    "form",
    [{"batch": 1, "reshape_to_one": True}, {"opset": 11}],
    ids=["one picture at a time", "old operators"],
)
def test_foreign_graphs_of_every_form_are_quantized(form: dict[str, Any], trained: Trained, tmp_path: Path) -> None:
    folder = bring_in(tmp_path, trained, **form)
    result = export_int8(ExportConfig(run=folder, int8=True, faces=trained.faces), Silent())
    rows = load_encoder(str(result.out), "cpu").embed(trained.crops[:9])
    assert np.sum(rows * trained.embed(trained.crops[:9]), axis=1).min() > 0.95


def test_a_graph_that_is_quantized_already_is_refused(desk: Path, trained: Trained, tmp_path: Path) -> None:
    source = desk / "ours" / "encoder-int8.onnx"
    import_encoder(ImportConfig(source=str(source), out=tmp_path / "again", color="rgb"), Silent())
    with pytest.raises(ModelError, match=r"again: not exported: its graph is quantized already"):
        export_int8(ExportConfig(run=tmp_path / "again", int8=True, faces=trained.faces), Silent())
    assert not (tmp_path / "again" / "encoder-int8.onnx").exists()


def rounded_to(bits: int, model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the graph with the weights of its layers rounded to so few bits that its embeddings change strongly."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1 and values.dtype == np.float32:
            step = np.abs(values).max() / 2 ** (bits - 1)
            tensor.CopyFrom(numpy_helper.from_array((np.round(values / step) * step).astype(np.float32), tensor.name))
    return made


def test_a_graph_that_changes_too_much_is_not_written(
    ours: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(ours.iterdir())
    monkeypatch.setattr(quantized_export, "quantize_graph", lambda model, batches: rounded_to(2, model))
    with pytest.raises(ModelError, match=r"ours: not exported: 8-bit numbers change its embeddings too much") as caught:
        export_int8(ExportConfig(run=ours, int8=True, faces=trained.faces), Silent())
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(quantized_export, "LEAST_COSINE", -1.0)
    with pytest.raises(ModelError, match=r"TAR at FAR 0\.01 falls from [\d.]+% to [\d.]+%, by more"):
        export_int8(ExportConfig(run=ours, int8=True, faces=trained.faces), Silent())
    assert sorted(ours.iterdir()) == before


def test_a_graph_that_is_not_faster_is_written_with_a_warning(
    ours: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization_report, "_speed_ratio", lambda before, after, batch: 0.8)
    listening = Listening()
    result: Int8ExportResult = export_int8(ExportConfig(run=ours, int8=True, faces=trained.faces), listening)
    assert result.out.is_file()
    (warning,) = [text for text in listening.warnings if "8-bit numbers are not clearly faster" in text]
    assert warning.endswith("0.80 times at a batch size of 1 and 0.80 times at a batch size of 64")


def test_options_that_do_not_go_together_are_named(ours: Path, trained: Trained) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"int8": True}, "--int8: give --faces DIR"),
        ({"faces": trained.faces}, "--faces applies only to --int8"),
        ({"int8": True, "half": True, "faces": trained.faces}, "either --half or --int8"),
        ({"int8": True, "format": "timm", "faces": trained.faces}, "--int8 applies only to --format onnx"),
    ]
    for options, said in wrong:
        with pytest.raises(ValueError, match=said):
            ExportConfig(run=ours, **options)


def test_faces_and_targets_that_will_not_do_are_refused(ours: Path, trained: Trained, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(trained.faces, few, ignore=lambda folder, names: [n for n in names if n > "person-07" and "-" in n])
    other = tmp_path / "other"
    shutil.copytree(trained.faces, other)
    description = json.loads((other / "faceclr.json").read_text())
    description["fingerprint"]["template"] = "box 0.2"
    (other / "faceclr.json").write_text(json.dumps(description))
    (tmp_path / "folder.onnx").mkdir()
    wrong: list[tuple[dict[str, Any], type[FaceclrError], str]] = [
        ({"faces": tmp_path / "nowhere"}, DataError, "nowhere: no such folder"),
        ({"faces": few}, DataError, "few: has 8 people with two pictures; measuring needs 10"),
        ({"faces": other}, DataError, "box 0.2"),
        ({"out": tmp_path / "folder.onnx"}, ConfigError, "is a folder"),
        ({"out": ours / "encoder.onnx"}, ConfigError, "is the name of the float32 graph"),
    ]
    for options, kind, said in wrong:
        with pytest.raises(kind, match=said):
            export_int8(ExportConfig(**{"run": ours, "int8": True, "faces": trained.faces, **options}), Silent())


def test_a_file_without_its_digest_is_damaged(desk: Path, tmp_path: Path) -> None:
    file = read_onnx(desk / "ours" / "encoder-int8.onnx")
    model = onnx.ModelProto.FromString(file.content)
    del model.metadata_props[:]
    content = {key: value for key, value in file.description.content.items() if key != "quantization"}
    write_onnx(tmp_path / "bare.onnx", model, content, "int8")
    with pytest.raises(ModelError, match=r"bare\.onnx: does not describe an encoder"):
        read_onnx(tmp_path / "bare.onnx")


@pytest.mark.parametrize("flags, is_refused", [("fpu avx2 fma", True), ("fpu avx2 avx_vnni", False)])
def test_weights_of_8_bits_are_refused_where_they_overflow(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, is_refused: bool
) -> None:
    """Files of an earlier version have such weights."""
    now, former = desk / "ours" / "encoder-int8.onnx", tmp_path / "former.onnx"
    model = onnx.ModelProto.FromString(read_onnx(now).content)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.ndim > 1:
            doubled = np.clip(2 * values.astype(int), -128, 127).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(doubled, tensor.name))
    del model.metadata_props[:]
    write_onnx(former, model, read_onnx(now).description.content, "int8")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(weight_overflow, "_CPU_INFO", tmp_path / "cpuinfo")
    load_encoder(str(now), "cpu")
    if is_refused:
        with pytest.raises(ModelError, match=r"former\.onnx: its weights use all 8 bits.*without VNNI.*again"):
            load_encoder(str(former), "cpu")
    else:
        load_encoder(str(former), "cpu")
    assert [info(InfoConfig(path=path), Silent()).about["weight_bits"] for path in (now, former)] == [7, 8]
