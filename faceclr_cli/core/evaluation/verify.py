"""`faceclr verify`: a verdict on two photographs, or an encoder measured on many pairs.

Two photographs are what people wait for at a terminal: nothing slower than OpenCV is imported for them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.load import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.reasons import shown

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.all_pairs import AllPairsResult
    from faceclr_cli.core.evaluation.pairs import PairsResult


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """A verdict on two photographs.

    Attributes:
        a: The first photograph.
        b: The second.
        encoder: Who compared them.
        similarity: Cosine of the two embeddings, -1 to 1.
        threshold: Least similarity of the same person.
        far: Share of impostor pairs that this threshold was measured to accept, or None where the user chose it.
        meaning: What the threshold means, as a sentence.
        same: Whether it is the same person.
    """

    a: str
    b: str
    encoder: str
    similarity: float
    threshold: float
    far: float | None
    meaning: str
    same: bool

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self)


def run(config: VerifyConfig, reporter: Reporter) -> VerifyResult | PairsResult | AllPairsResult:
    """Compares two photographs, or measures stored embeddings on pairs or on all pairs, as the config asks.

    Raises:
        UnreadableImageError: A photograph cannot be decoded.
        NoFaceError: A photograph shows no face.
        DataError: A file is missing, or the pairs and the store don't fit.
        ModelError: There is no such encoder.
        ConfigError: The encoder has no threshold and none was given, or options contradict each other.
    """
    if config.embeddings is not None and config.pairs is not None:
        from faceclr_cli.core.evaluation.pairs import measure_pairs

        return measure_pairs(config.embeddings, config.pairs, config, reporter)
    if config.embeddings is not None:
        from faceclr_cli.core.evaluation.all_pairs import measure_store

        if config.threshold is not None:
            raise ConfigError("--threshold is for two photographs: leave it out")
        return measure_store(config.embeddings, reporter)
    return _compare(config, reporter)


def _compare(config: VerifyConfig, reporter: Reporter) -> VerifyResult:
    # While the photographs are decoded and searched, sface loads its network on another core.
    encoder = load_encoder(config.model)
    threshold, far, meaning = _threshold(config, encoder)
    cropper, crops = PhotoCropper(encoder.fingerprint), []
    for photo in config.photos:
        aligned = cropper.crop_file(photo)
        if aligned.faces_found > 1:
            text = f"{shown(photo)}: {aligned.faces_found} faces found, the largest is compared"
            reporter.report(Notice(text=text, level="warning"))
        crops.append(aligned.crop)
    first, second = encoder.embed(np.stack(crops)).astype(np.float64)
    similarity = float(np.clip(first @ second, -1, 1))
    a, b = (str(photo) for photo in config.photos)
    return VerifyResult(
        a=a,
        b=b,
        encoder=encoder.name,
        similarity=similarity,
        threshold=threshold,
        far=far,
        meaning=meaning,
        same=similarity >= threshold,
    )


def _threshold(config: VerifyConfig, encoder: Encoder) -> tuple[float, float | None, str]:
    """The threshold, its false accept rate if known, and what it means."""
    if config.threshold is not None:
        return config.threshold, None, "chosen by --threshold"
    if encoder.calibration is None:
        raise ConfigError(
            f"--model {config.model}: nobody has measured its threshold; give one with --threshold, which "
            "faceclr verify --embeddings STORE.h5 --pairs FILE helps to choose"
        )
    measured = encoder.calibration
    meaning = (
        f"accepts 1 in {1 / measured.far:,.0f} pairs of different people and {measured.tar:.1%} of pairs of the same "
        f"({measured.source})"
        if measured.far > 0
        else f"accepts no pair of different people and {measured.tar:.1%} of pairs of the same ({measured.source})"
    )
    return measured.threshold, measured.far, meaning
