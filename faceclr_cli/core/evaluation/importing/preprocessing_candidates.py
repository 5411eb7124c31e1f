"""Assumptions about the preprocessing that a network was trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceclr_cli.core.configs.import_encoder import SCALES, Color, parse_scale
from faceclr_cli.core.encoders.architecture import InputNormalization

COLORS: tuple[Color, ...] = ("rgb", "bgr")
ARCFACE = "arcface"
TEMPLATES = (ARCFACE, "box 0", "box 0.1", "box 0.2", "box 0.3", "eyes 0", "eyes 0.1", "eyes 0.2")
"""Alignments that are measured on photographs, the most common one first."""

_PIXEL_FORMAT, _PIXEL_RANGE = "Image.BitmapPixelFormat", "Image.NominalPixelRange"
_FORMATS: dict[str, Color] = {"Rgb8": "rgb", "Rgba8": "rgb", "Bgr8": "bgr", "Bgra8": "bgr"}
_RANGES = {"NominalRange_0_255": "none", "Normalized_0_1": "255", "Normalized_1_1": "127.5"}


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """The preprocessing that a network may have been trained with.

    Attributes:
        color: Channel order.
        scale: Name of the scale, or MEAN/STD; see `parse_scale`.
        template: Alignment of the faces.
    """

    color: Color
    scale: str
    template: str

    @property
    def normalization(self) -> InputNormalization:
        """The pixels that the network takes."""
        mean, std = parse_scale(self.scale)
        return InputNormalization(channels=self.color, mean=mean, std=std)


@dataclass(frozen=True, kw_only=True)
class KnownPreprocessing:
    """The parts of the preprocessing that are known before a measurement; None for those that are not.

    Attributes:
        color: Channel order.
        scale: Name of the scale, or MEAN/STD.
        template: Alignment of the faces.
    """

    color: Color | None = None
    scale: str | None = None
    template: str | None = None

    def allows(self, assumption: Assumption) -> bool:
        """True if an assumption agrees with what is known about the pixels."""
        return self.color in (None, assumption.color) and self.scale in (None, assumption.scale)


def scale_of(normalization: InputNormalization) -> str:
    """Returns the name of a scale, or MEAN/STD."""
    for name, (mean, std) in SCALES.items():
        pairs = zip((*mean, *std), (*normalization.mean, *normalization.std), strict=True)
        if all(math.isclose(*pair, rel_tol=1e-6) for pair in pairs):
            return name
    return "/".join(",".join(f"{value:.9g}" for value in values) for values in (normalization.mean, normalization.std))


def known_from_metadata(metadata: Mapping[str, str]) -> KnownPreprocessing:
    """Reads the metadata of an ONNX file: the keys for pictures of the ONNX specification."""
    return KnownPreprocessing(
        color=_FORMATS.get(metadata.get(_PIXEL_FORMAT, "")), scale=_RANGES.get(metadata.get(_PIXEL_RANGE, ""))
    )


def list_assumptions(known: KnownPreprocessing, template: str, *, takes_bytes: bool) -> tuple[Assumption, ...]:
    """Lists all assumptions about the pixels, the most common first.

    Args:
        known: The known parts; a scale that is not among the common ones becomes an additional assumption.
        template: Alignment of the faces.
        takes_bytes: The network takes the values 0-255 as bytes, so that only the channel order is unknown.
    """
    scales = ["none"] if takes_bytes else list(SCALES)
    if known.scale is not None and known.scale not in scales:
        scales.insert(0, known.scale)
    return tuple(Assumption(color=color, scale=scale, template=template) for scale in scales for color in COLORS)


@dataclass(frozen=True, kw_only=True)
class MeasuredAssumption:
    """An assumption with its measurements.

    Attributes:
        assumption: The assumption.
        faces: Number of faces.
        auc: Area under the ROC over all pairs of these faces.
        separation: Their decidability index d'; see `separation`.
        stability: Cosine of a face and the same face moved by two pixels of 112, on a scale where 0 is the mean of two
            people.
        behind: The best separation minus this one, on the same faces.
        low: Lower end of the 99% interval of `behind`.
        high: Upper end of the interval.
        is_twin: True if a more common assumption gives the same embeddings.
    """

    assumption: Assumption
    faces: int
    auc: float
    separation: float
    stability: float
    behind: float
    low: float
    high: float
    is_twin: bool

    @property
    def is_clearly_worse(self) -> bool:
        """True if the best assumption is better than this one beyond the noise."""
        return self.low > 0

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {
            "color": self.assumption.color,
            "scale": self.assumption.scale,
            "template": self.assumption.template,
            "faces": self.faces,
            "auc": self.auc,
            "separation": self.separation,
            "stability": self.stability,
            "behind": self.behind,
            "low": self.low,
            "high": self.high,
            "is_twin": self.is_twin,
        }
