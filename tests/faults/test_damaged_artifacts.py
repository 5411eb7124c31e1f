"""Damaged artifacts are read, or refused with one line: reading never hangs, crashes or fills the memory.

Each case is a tenth of the 300 mutations of one kind of artifact, so that a share of them can be run: `-k "[h5-3]"`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.embeddings.store import read_store, write_store
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.prepare import prepare
from tests.core.encoders.test_encoder_folder import CALIBRATION, save
from tests.core.encoders.toy_graph import write_toy
from tests.faults.artifact_reading import Outcome, Reader, read_embeddings, read_encoder, read_ledger, read_packed

_SAMPLE = Path(__file__).parents[1] / "core" / "embeddings" / "samples" / "store-0.1.h5"
_TENTHS, _EACH = 10, 30
_SECONDS, _GOOD_SECONDS = 10.0, 0.5
_MOST_MIB = 1024


def _h5(root: Path) -> Path:
    write_store(root / "faces.h5", read_store(_SAMPLE))
    return root / "faces.h5"


def _h5_of_the_last_release(root: Path) -> Path:
    return Path(shutil.copy(_SAMPLE, root / "old.h5"))


def _weights(root: Path) -> Path:
    save(root / "encoder", 0, CALIBRATION)
    return root / "encoder" / "weights.safetensors"


def _description(root: Path) -> Path:
    return _weights(root).with_name("encoder.json")


def _onnx(root: Path) -> Path:
    return write_toy(root / "encoder.onnx")


def _faces(root: Path) -> Path:
    write_people(root / "photos", people=2, photos=2, seed=0, reporter=Silent())
    prepare(PrepareConfig(source=root / "photos", out=root / "faces", workers=1), Silent())
    return root / "faces"


def _ledger(root: Path) -> Path:
    return _faces(root) / "manifest.sqlite"


def _packed(root: Path) -> Path:
    open_packed(open_faces(_faces(root)), Silent(), root / "cache")
    (path,) = (root / "cache").glob("*.npy")
    return path


_KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], None]]] = {
    "h5": (_h5, read_embeddings),
    "old-h5": (_h5_of_the_last_release, read_embeddings),
    "safetensors": (_weights, read_encoder),
    "json": (_description, read_encoder),
    "onnx": (_onnx, read_encoder),
    "sqlite": (_ledger, read_ledger),
    "npy": (_packed, read_packed),
}


def _mutated(content: bytes, number: int) -> bytes:
    """Some bits flipped, a block zeroed or overwritten or moved, or the end cut off."""
    rng = np.random.default_rng(number)
    data = np.frombuffer(content, np.uint8).copy()
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 513))
    match number % 5:
        case 0 | 1:
            places = rng.integers(len(data), size=int(rng.integers(1, 4)))
            data[places] ^= np.uint8(1) << rng.integers(8, size=len(places)).astype(np.uint8)
        case 2:
            data[place // 512 * 512 : place // 512 * 512 + length] = 0
        case 3:
            part = data[place : place + length]
            part[:] = rng.integers(256, size=len(part), dtype=np.uint8)
        case 4 if number % 2:
            return data[:place].tobytes()
        case _:
            part = data[place : place + length].copy()
            data[: len(part)] = part
    return data.tobytes()


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tenth", range(_TENTHS))
@pytest.mark.parametrize("kind", list(_KINDS))
def test_reading_ends_in_order(kind: str, tenth: int, tmp_path: Path) -> None:
    make, read = _KINDS[kind]
    path = make(tmp_path)
    content = path.read_bytes()
    reader = Reader(read)
    try:
        first = reader.read(path, 120)
        assert isinstance(first, Outcome)
        assert first.code == 0, first.said
        path.write_bytes(content)
        begun = time.perf_counter()
        reader.read(path, 120)
        seconds = _SECONDS * max(1.0, (time.perf_counter() - begun) / _GOOD_SECONDS)
        problems = []
        for number in range(tenth * _EACH, (tenth + 1) * _EACH):
            path.write_bytes(_mutated(content, number))
            outcome = reader.read(path, seconds)
            if isinstance(outcome, str):
                problems.append(f"mutation {number} {outcome}")
            elif outcome.code not in (0, 3, 4) or "\n" in outcome.said or outcome.peak - first.peak > _MOST_MIB:
                problems.append(f"mutation {number}: {outcome}")
        assert not problems
    finally:
        reader.close()
