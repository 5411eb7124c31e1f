"""`faceclr export --int8`: writes an encoder with 8-bit numbers, with a report on the effects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.export import ExportConfig
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.loaded_pictures import FailedPicture
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.description import GRAPH, Description
from faceclr_cli.core.encoders.export import ExportedFile, trace_source
from faceclr_cli.core.encoders.onnx_encoder import OnnxEncoder
from faceclr_cli.core.encoders.onnx_file import QUANTIZATION, OnnxFile, Precision, read_onnx, write_onnx
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.calibration.face_order import FEWEST_PEOPLE, order_by_person
from faceclr_cli.core.evaluation.quantization.graph_quantization import quantize_graph
from faceclr_cli.core.evaluation.quantization.quantization_report import (
    QuantizationReport,
    SpeedRatio,
    compare_quantized,
    compare_speed,
)
from faceclr_cli.core.events import Notice, Reporter, TaskFinished, TaskStarted, track
from faceclr_cli.core.text import display_path

LEAST_COSINE = 0.9
"""Minimum of the mean cosine between the embeddings before and after; docs/embeddings.md has measurements."""
LARGEST_LOSS = 0.01
"""Largest loss of TAR at the false accept rate that verdicts use by default."""
LEAST_RATIO = 1.05
"""Speed ratio below which a warning says that 8-bit numbers are not faster."""

_SCALING_SHARE = 5
"""One of this number of people is used for the scales of the activations, the others for the comparison."""
_SCALING_FACES = 100
_COMPARED_FACES = 2000
_SCALING_BATCH = 20
_AHEAD = 64
_TASK = "quantizing"


@dataclass(frozen=True, kw_only=True)
class Int8ExportResult(ExportedFile):
    """The exported file, of precision `int8`.

    Attributes:
        bytes_before: Size of the same graph in float32.
        scaling_faces: Number of faces that the scales of the activations were chosen with.
        report: The comparison with float32, on faces of other people.
        speed: The speed compared with float32 at each batch size, on this machine.
        calibration: The thresholds of the 8-bit encoder, which the file contains.
    """

    bytes_before: int
    scaling_faces: int
    report: QuantizationReport
    speed: tuple[SpeedRatio, ...]
    calibration: Calibration

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = {"report": self.report.to_json(), "calibration": self.calibration.to_json()}
        return super().to_json() | plain | {"speed": [asdict(each) for each in self.speed]}


def export_int8(config: ExportConfig, reporter: Reporter) -> Int8ExportResult:
    """Exports an encoder with 8-bit weights and activations. Writes nothing if the loss of accuracy is too large.

    Raises:
        ModelError: As for `export`, the graph cannot be quantized, or the loss exceeds the limits.
        ConfigError: The output path is a folder or the float32 graph, or there are no faces.
        DataError: The faces cannot be read or are too few, or the file cannot be written.
        FingerprintError: The faces were not prepared as the encoder requires.
    """
    if config.faces is None:
        raise ConfigError("--int8: give --faces DIR, a folder of labeled people")
    model, description = trace_source(config.run, reporter)
    out = _require_target(config, description)
    faces = _load_faces(config, config.faces, description, reporter)
    origin, name = display_path(config.faces.resolve().name), display_path(config.run)
    reporter.report(TaskStarted(task=_TASK))
    try:
        made = quantize_graph(model, _batches(faces.scaling, model))
        reporter.report(TaskFinished(task=_TASK))
        content = _add_digest(description.content, made)
        before = _open(model, description, "float32", name)
        after = _open(made, replace(description, content=content), "int8", name)
        report, calibration = compare_quantized(
            before, after, faces.crops, faces.labels, origin, reporter, seed=config.seed
        )
        _require_small_loss(report, calibration.default_point.far)
        speed = compare_speed(before, after, faces.crops, reporter)
        content |= {"calibration": calibration.to_json()}
        content[QUANTIZATION] |= {"source": origin, "scaling_faces": len(faces.scaling), **report.to_json()}
        with atomic_path(out) as temporary:
            write_onnx(temporary, made, content, "int8")
            OnnxEncoder(read_onnx(temporary)).embed(faces.crops[:1])
            size = temporary.stat().st_size
    except ModelError as error:
        raise ModelError(f"{name}: not exported: {str(error).removeprefix(f'{name}: ')}") from error
    except ValueError as error:
        raise DataError(f"{origin}: {error}") from error
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
    _warn_of_speed(speed, reporter)
    return Int8ExportResult(
        out=out,
        bytes=size,
        bytes_before=model.ByteSize(),
        crop_size=description.fingerprint.size,
        dim=description.architecture.embedding_dim,
        precision="int8",
        scaling_faces=len(faces.scaling),
        report=report,
        speed=speed,
        calibration=calibration,
    )


def _require_target(config: ExportConfig, description: Description) -> Path:
    """Returns the file beside the weights; for `sface`, a file in the working directory."""
    is_built_in = description.card.command == "built-in"
    out = config.out or (Path("sface-int8.onnx") if is_built_in else description.folder / "encoder-int8.onnx")
    if out.is_dir():
        raise ConfigError(f"{display_path(out)}: is a folder; give -o a file name, such as {display_path(out / GRAPH)}")
    if not is_built_in and out.resolve() == (description.folder / GRAPH).resolve():
        raise ConfigError(f"-o {display_path(out)}: is the name of the float32 graph; choose another")
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class _Faces:
    """Crops for the scales of the activations, and labeled crops of other people for the comparison."""

    scaling: NDArray[np.uint8]
    crops: NDArray[np.uint8]
    labels: NDArray[np.int64]


def _load_faces(config: ExportConfig, folder: Path, description: Description, reporter: Reporter) -> _Faces:
    name = display_path(folder)
    if not folder.exists():
        raise DataError(f"{name}: no such folder")
    options = EmbedConfig(faces=folder, model=str(config.run))
    listing = list_pictures(options, folder, description.fingerprint, reporter)
    photos, labels = order_by_person(listing.photos, config.seed)
    people = int(labels.max(initial=-1)) + 1
    if people < FEWEST_PEOPLE:
        raise DataError(f"{name}: has {people} people with two pictures; measuring needs {FEWEST_PEOPLE} or more")
    is_scaling = labels < max(1, people // _SCALING_SHARE)
    parts = []
    for chosen, count in ((is_scaling, _SCALING_FACES), (~is_scaling, _COMPARED_FACES)):
        # Archives are read in their order.
        places = sorted(np.flatnonzero(chosen)[:count].tolist(), key=lambda place: photos[place].position)
        source = open_source(
            "largest", Listing(photos=[photos[place] for place in places], crops=listing.crops), description.fingerprint
        )
        loaded = track(source.load(_AHEAD), reporter, "reading faces", total=len(places), unit="pictures")
        found = [
            (picture.faces[0].crop, place)
            for picture, place in zip(loaded, places, strict=True)
            if not isinstance(picture, FailedPicture)
        ]
        if not found:
            raise DataError(f"{name}: no face found in any of {len(places)} pictures")
        parts.append((np.stack([crop for crop, _ in found]), labels[[place for _, place in found]]))
    (scaling, _), (crops, own) = parts
    return _Faces(scaling=scaling, crops=crops, labels=np.unique(own, return_inverse=True)[1].astype(np.int64))


def _batches(crops: NDArray[np.uint8], model: onnx.ModelProto) -> list[NDArray[np.uint8]]:
    """Splits crops into the batches that the graph accepts; imported graphs may accept one crop at a time."""
    axis = model.graph.input[0].type.tensor_type.shape.dim[0]
    size = axis.dim_value if axis.HasField("dim_value") else _SCALING_BATCH
    return list(np.split(crops, range(size, len(crops), size)))


def _open(model: onnx.ModelProto, description: Description, precision: Precision, name: str) -> OnnxEncoder:
    return OnnxEncoder(
        OnnxFile(path=Path(name), description=description, precision=precision, content=model.SerializeToString())
    )


def _add_digest(content: Mapping[str, Any], model: onnx.ModelProto) -> dict[str, Any]:
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    return {**content, QUANTIZATION: {"sha256": digest}}


def _require_small_loss(report: QuantizationReport, default_far: float) -> None:
    if not report.cosine >= LEAST_COSINE:
        raise ModelError(
            f"8-bit numbers change its embeddings too much (mean cosine {report.cosine:.4f}, below {LEAST_COSINE})"
        )
    rate = next(each for each in report.rates if each.far == default_far)
    if rate.tar_before - rate.tar > LARGEST_LOSS:
        raise ModelError(
            f"with 8-bit numbers, TAR at FAR {rate.far:g} falls from {rate.tar_before:.1%} to {rate.tar:.1%}, "
            f"by more than {LARGEST_LOSS:.0%}"
        )


def _warn_of_speed(speed: Sequence[SpeedRatio], reporter: Reporter) -> None:
    slow = [each for each in speed if each.ratio < LEAST_RATIO]
    if slow:
        ratios = " and ".join(f"{each.ratio:.2f} times at a batch size of {each.batch_size}" for each in slow)
        text = f"8-bit numbers are not clearly faster than float32 on this machine: {ratios}"
        reporter.report(Notice(text=text, level="warning"))
