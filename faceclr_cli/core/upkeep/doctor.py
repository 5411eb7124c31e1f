"""`faceclr doctor`: checks of the installation."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from faceclr_cli import __version__
from faceclr_cli.core.errors import ConfigError, FaceclrError, ModelError
from faceclr_cli.core.wording import count
from faceclr_cli.core.workers.capacity import cores

_OPTIONAL = {
    "mtcnn": "facenet-pytorch",
    "onnx": "onnxruntime",
    "search": "faiss-cpu",
    "cluster": "distributed",
    "heif": "pi-heif",
    "video": "av",
}
"""The main package of each extra."""

_RUNTIMES = ("onnxruntime", "onnxruntime-openvino", "onnxruntime-gpu")
"""Builds of ONNX Runtime that share a folder, the plain one first."""

_TIMED_PICTURES = 8
"""Pictures in each step of training that is timed."""

_PHOTOGRAPH = "mpl-data/sample_data/grace_hopper.jpg"
"""A public-domain portrait by the US Navy that is part of matplotlib."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of a check.

    Attributes:
        name: Name of the check.
        ok: True if the check passed.
        found: What was found, or the error.
        seconds: Duration.
        exit_code: 0 if the check passed, otherwise the exit code of commands that fail with this error.
    """

    name: str
    ok: bool
    found: str
    seconds: float
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """The check as a JSON object."""
        return asdict(self)


def run_check(name: str, check: Callable[[], str]) -> Check:
    """Runs a check.

    Args:
        name: Name of the check.
        check: Function that returns what it found, or raises an error.
    """
    began = time.perf_counter()
    try:
        found, exit_code = check(), 0
    except FaceclrError as error:
        found, exit_code = str(error), error.exit_code
    except Exception as error:  # noqa: BLE001 - any error is a finding
        found, exit_code = f"{type(error).__name__}: {error}", ConfigError.exit_code
    seconds = time.perf_counter() - began
    return Check(name=name, ok=exit_code == 0, found=found, seconds=round(seconds, 3), exit_code=exit_code)


def examine_installation(*, processes: bool) -> Iterator[Check]:
    """Runs all checks in order.

    Args:
        processes: Also compare training in several processes with training in one, which takes half a minute.
    """
    for name, check in _CHECKS.items():
        yield run_check(name, check)
    if processes:
        from faceclr_cli.core.upkeep.process_agreement import compare_processes

        yield run_check("processes", compare_processes)


def _system() -> str:
    return f"faceclr {__version__}, Python {platform.python_version()}, {platform.platform()}, {cores()} cores"


def _packages() -> str:
    """Checks that required packages are installed in supported versions."""
    from packaging.requirements import Requirement

    found, wrong = list[str](), list[str]()
    for line in requires("faceclr") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement} is missing")
            continue
        found.append(f"{requirement.name} {installed}")
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement} is required, but {installed} is installed")
    if wrong:
        raise ConfigError(f"{'; '.join(wrong)}; run: pip install --upgrade faceclr")
    return ", ".join(found)


def _extras() -> str:
    found = list[str]()
    for extra, package in _OPTIONAL.items():
        try:
            found.append(f"{package} {version(package)} [{extra}]")
        except PackageNotFoundError:
            found.append(f"no {package} [{extra}]")
    return ", ".join(found)


def _runtime() -> str:
    """Checks that one build of ONNX Runtime is installed: builds overwrite each other's files."""
    builds = []
    for package in _RUNTIMES:
        try:
            builds.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    if len(builds) > 1:
        names = [build.split()[0] for build in builds]
        raise ConfigError(
            f"{' and '.join(builds)} overwrite each other; keep one: pip uninstall -y {' '.join(names)} && pip install "
            f"{names[-1]}"
        )
    if not builds:
        return "ONNX Runtime is not installed"
    import onnxruntime

    return f"{builds[0]} with {', '.join(onnxruntime.get_available_providers())}"


def _torch() -> str:
    """Checks that the builds of torch and torchvision are compatible, with an operator of torchvision."""
    import torch
    import torchvision

    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9]]), torch.tensor([0.9, 0.8]), 0.5)
    if kept.tolist() != [0]:
        raise ModelError("torchvision computes wrong results; reinstall torch and torchvision together")
    versions = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    return f"{versions} are compatible, {count(torch.get_num_threads(), 'thread')}"


def _devices() -> str:
    import torch

    from faceclr_cli.core.training.machine import supports_bf16

    found = [f"cpu ({'float32, bf16' if supports_bf16('cpu') else 'float32'})"]
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        able = "float32, bf16" if supports_bf16("cuda") else "float32"
        found.append(f"cuda:{number} {about.name}, {about.total_memory / 2**30:.0f} GiB ({able})")
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        if float((ones @ ones).sum()) != 64.0**3:
            raise ModelError(f"cuda:{number} computes wrong results")
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def _precision() -> str:
    """Times training steps of the default network on the CPU, in both precisions."""
    import numpy as np

    from faceclr_cli.core.configs.pretrain import PretrainConfig
    from faceclr_cli.core.datasets.joined_faces import JoinedFaces
    from faceclr_cli.core.faces.crop import default_fingerprint
    from faceclr_cli.core.training.machine import supports_bf16
    from faceclr_cli.core.training.precision_choice import time_precisions
    from faceclr_cli.core.training.training_sets import TrainingSets

    if not supports_bf16("cpu"):
        return "the CPU does not support bf16; training uses float32"
    config, count = PretrainConfig(method="simclr", batch_size=_TIMED_PICTURES).with_method(), _TIMED_PICTURES
    side = config.input_size
    noise = JoinedFaces(
        packed=(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8),),
        sources=np.zeros(count, np.int64),
        rows=np.arange(count, dtype=np.int32),
        labels=np.full(count, -1),
        people=(),
        paths=tuple(map(str, range(count))),
        fingerprint=default_fingerprint(side),
    )
    rates = time_precisions(config, TrainingSets(train=noise, new_people=None, known_people=None))
    used = "bf16" if rates.favor_bf16 else "float32"
    return (
        f"pretrain with the default network on the CPU: {rates.float32:.0f} pictures/s in float32, "
        f"{rates.bf16:.0f} in bf16; {used} is chosen"
    )


def _weights() -> str:
    """Checks that weights are installed and match the pinned digests."""
    from faceclr_cli.core.faces.weights import SFACE, YUNET

    found = list[str]()
    for weights in (YUNET, SFACE):
        weights.read()
        found.append(f"{weights.name} {weights.short_digest} ({weights.license}, from {weights.package})")
    return ", ".join(found)


def _face() -> str:
    """Detects, aligns, embeds and compares the face of a photograph and of a smaller, darker copy."""
    import cv2
    import numpy as np

    from faceclr_cli.core.encoders.loader import load_encoder
    from faceclr_cli.core.faces.crop import PhotoCropper
    from faceclr_cli.core.faces.decode import read_photo

    path = _sample_photograph()
    began = time.perf_counter()
    encoder = load_encoder("sface", "cpu", one_off=True)
    cropper = PhotoCropper(encoder.fingerprint)
    loaded = time.perf_counter()
    face = cropper.crop_file(path)
    cut = time.perf_counter()
    small = cv2.resize(read_photo(path)[..., ::-1], None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    written = cv2.imencode(".jpg", cv2.convertScaleAbs(small, alpha=0.7))[1].tobytes()
    copy = cropper.crop_data(written)[0]
    began_to_embed = time.perf_counter()
    first, second = encoder.embed(np.stack([face.crop, copy.crop]))
    embedded = time.perf_counter()
    similarity = float(first @ second)
    if encoder.calibration is None or not 0 < face.face.score <= 1:
        raise ModelError("the built-in encoder has no calibration, or the detector returned an invalid score")
    threshold = encoder.calibration.default_point.threshold
    if similarity < threshold:
        raise ModelError(f"a face and its copy have similarity {similarity:.3f}, below the threshold {threshold:.3f}")
    return (
        f"similarity {similarity:.3f} to a small, dark copy; loaded in {loaded - began:.3f} s, detected and aligned in "
        f"{cut - loaded:.3f} s, two faces embedded in {embedded - began_to_embed:.3f} s"
    )


def _sample_photograph() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    path = Path(spec.origin).parent / _PHOTOGRAPH if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise ConfigError("matplotlib's sample photograph is missing; run: pip install --force-reinstall matplotlib")
    return path


def _cache() -> str:
    """Checks that the cache of packed crops is writable; otherwise each training run packs them again."""
    from faceclr_cli.core.artifacts import CACHE_VARIABLE, cache_folder

    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return str(folder)
    except OSError as error:
        raise ConfigError(
            f"the cache folder is not writable ({error}); set {CACHE_VARIABLE} to a folder that can be written"
        ) from error


_CHECKS: dict[str, Callable[[], str]] = {
    "system": _system,
    "packages": _packages,
    "extras": _extras,
    "onnxruntime": _runtime,
    "torch": _torch,
    "devices": _devices,
    "precision": _precision,
    "weights": _weights,
    "face": _face,
    "cache": _cache,
}
