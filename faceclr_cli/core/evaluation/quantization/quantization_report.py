"""The effects of quantization on embeddings, error rates at each threshold, and speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.evaluation.calibration.calibrate import measure_thresholds
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.metrics.all_pairs import measure_all_pairs
from faceclr_cli.core.metrics.roc import cosine_scores

BATCH_SIZES = (1, 64)
"""Sizes at which the speed is compared: one face, as `verify` embeds, and the batches of `embed`."""

_BATCH = 64
_PAIRS = 15
_FEWEST_PAIRS = 3
_SECONDS = 15.0
"""Time for the comparison of the speeds at one batch size; slow networks get fewer pairs of runs."""


@dataclass(frozen=True, kw_only=True)
class SpeedRatio:
    """The speed of the 8-bit graph.

    Attributes:
        batch_size: Number of crops in a batch.
        ratio: Time of the float32 graph divided by that of the 8-bit graph: the median of runs in turn.
    """

    batch_size: int
    ratio: float


@dataclass(frozen=True, kw_only=True)
class RateChange:
    """The rates at one false accept rate, for all pairs of the same faces.

    Attributes:
        far: False accept rate.
        tar_before: TAR of the float32 graph.
        tar: TAR of the 8-bit graph.
        threshold_before: Threshold of the float32 graph on these faces.
        threshold: Threshold of the 8-bit graph.
    """

    far: float
    tar_before: float
    tar: float
    threshold_before: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """The comparison of the embeddings of an 8-bit graph with those of the float32 graph.

    Attributes:
        faces: Number of faces in the comparison; none of their people was used for quantization.
        people: Number of people.
        genuine: Pairs of one person.
        impostor: Pairs of two people.
        cosine: Mean cosine of the two embeddings of a face.
        least_cosine: Minimum of the cosine.
        rates: Rates and thresholds before and after.
    """

    faces: int
    people: int
    genuine: int
    impostor: int
    cosine: float
    least_cosine: float
    rates: tuple[RateChange, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return asdict(self) | {"rates": [asdict(each) for each in self.rates]}


def compare_quantized(
    before: Encoder,
    after: Encoder,
    crops: NDArray[np.uint8],
    labels: NDArray[np.int64],
    origin: str,
    reporter: Reporter,
    *,
    seed: int,
) -> tuple[QuantizationReport, Calibration]:
    """Compares two graphs of an encoder.

    Args:
        before: The float32 graph.
        after: The 8-bit graph.
        crops: Labeled faces. Shape: (N, side, side, 3).
        labels: Number of the person of each face, from 0. Shape: (N,).
        origin: Name of the faces.
        reporter: Receives the progress, and notices about rates without enough people.
        seed: Seed of the bootstrap.

    Returns:
        The report, and the calibration of the 8-bit graph.

    Raises:
        ValueError: There are too few pairs.
        ModelError: A graph fails.
    """
    parts = np.array_split(crops, max(1, len(crops) // _BATCH))
    embedded = track(parts, reporter, "comparing with float32", total=len(parts), unit="batches")
    pairs = [(before.embed(part), after.embed(part)) for part in embedded]
    old, new = (np.concatenate([pair[place] for pair in pairs]) for place in (0, 1))
    measured = measure_thresholds(new, labels, origin, (), reporter, seed=seed)
    points = measured.calibration.points
    former = measure_all_pairs(old, labels, [point.far for point in points]).points
    cosines = cosine_scores(old, new)
    report = QuantizationReport(
        faces=len(crops),
        people=len(np.unique(labels)),
        genuine=measured.genuine,
        impostor=measured.impostor,
        cosine=float(cosines.mean()),
        least_cosine=float(cosines.min()),
        rates=tuple(
            RateChange(
                far=point.far,
                tar_before=past.tar,
                tar=point.tar,
                threshold_before=past.threshold,
                threshold=point.threshold,
            )
            for point, past in zip(points, former, strict=True)
        ),
    )
    return report, measured.calibration


def compare_speed(
    before: Encoder, after: Encoder, crops: NDArray[np.uint8], reporter: Reporter
) -> tuple[SpeedRatio, ...]:
    """Compares the speed of two graphs of an encoder at each of `BATCH_SIZES`.

    Args:
        before: The float32 graph.
        after: The 8-bit graph.
        crops: Faces. Shape: (N, side, side, 3).
        reporter: Receives the progress.
    """
    sizes = track(BATCH_SIZES, reporter, "comparing the speed", total=len(BATCH_SIZES), unit="batch sizes")
    return tuple(SpeedRatio(batch_size=size, ratio=_speed_ratio(before, after, crops[:size])) for size in sizes)


def _speed_ratio(before: Encoder, after: Encoder, batch: NDArray[np.uint8]) -> float:
    """Runs both in turn, so that other work on the machine slows both down."""
    ratios, start = list[float](), time.perf_counter()
    while len(ratios) < _PAIRS and (len(ratios) < _FEWEST_PAIRS or time.perf_counter() - start < _SECONDS):
        ratios.append(_seconds(before.embed, batch) / _seconds(after.embed, batch))
    return float(np.median(ratios))


def _seconds(embed: Callable[[NDArray[np.uint8]], object], batch: NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    embed(batch)
    return max(time.perf_counter() - start, 1e-9)
