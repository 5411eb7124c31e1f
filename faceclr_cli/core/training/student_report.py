"""The size and the speed of a student in comparison with its teachers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.encoder_folder import load_network
from faceclr_cli.core.encoders.loader import load_encoder

_FACES = 32
_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class StudentReport:
    """The size and the speed of a student and its teachers, each as `faceclr embed` runs it on this machine.

    Attributes:
        parameters: Number of parameters of the student.
        faces_per_second: Crops that the student embeds per second, in batches of 32.
        teacher_faces_per_second: The same for the teachers, one after the other.
    """

    parameters: int
    faces_per_second: float
    teacher_faces_per_second: float


def measure_student(student: Path, teachers: Sequence[str], device: str) -> StudentReport:
    """Measures the speed of a student and its teachers in turns, in a few seconds.

    Args:
        student: The encoder folder of the student.
        teachers: The teachers, as for `load_encoder`.
        device: As for `load_encoder`.

    Raises:
        ModelError: An encoder cannot be loaded.
    """
    network, _ = load_network(student)
    encoders = [load_encoder(model, device) for model in (str(student), *teachers)]
    seconds = np.array([[_time_batch(encoder) for encoder in encoders] for _ in range(1 + _ROUNDS)])
    own, *theirs = np.median(seconds[1:], axis=0)  # The first batch of an encoder reserves memory.
    return StudentReport(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        faces_per_second=_FACES / float(own),
        teacher_faces_per_second=_FACES / float(sum(theirs)),
    )


def _time_batch(encoder: Encoder) -> float:
    side = encoder.fingerprint.size
    crops = np.full((_FACES, side, side, 3), 127, np.uint8)
    began = time.perf_counter()
    encoder.embed(crops)
    return time.perf_counter() - began
