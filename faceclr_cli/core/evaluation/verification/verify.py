"""`faceclr verify`: a verdict on two photographs or on many pairs, or an encoder measured on pairs.

Two photographs are what people wait for at a terminal: nothing slower than OpenCV is imported for them.
"""

from __future__ import annotations

import filecmp
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.encoders.decision_rule import choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.quality import doubts
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult
    from faceclr_cli.core.evaluation.verification.pairs_protocol import PairsResult


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
        meaning: What the threshold accepts, in words.
        source: The pairs that it was measured on, in words; None where the user chose it.
        same: Whether it is the same person.
        probability: The chance of that, if it is as likely as not beforehand, or None where nobody measured it.
        notes: What makes the verdict doubtful, each beginning with the photograph's name.
    """

    a: str
    b: str
    encoder: str
    similarity: float
    threshold: float
    far: float | None
    meaning: str
    source: str | None
    same: bool
    probability: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"notes": list(self.notes)}


def verify(config: VerifyConfig, reporter: Reporter) -> VerifyResult | PairsResult | AllPairsResult:
    """Compares two photographs, or measures an encoder on pairs, as the config asks. Many verdicts: `verdicts`.

    Raises:
        UnreadableImageError: A photograph cannot be decoded.
        NoFaceError: A photograph shows no face.
        DataError: A file is missing, or the pairs and the pictures don't fit.
        ModelError: There is no such encoder.
        FingerprintError: Faces were prepared in another way than the encoder needs.
        ConfigError: The encoder has no threshold and none was given, or the config asks for many verdicts.
    """
    if config.all_pairs and config.embeddings is not None:
        from faceclr_cli.core.evaluation.verification.all_pairs_protocol import measure_store

        return measure_store(config.embeddings, config.face or "largest", reporter)
    if config.is_evaluation:
        from faceclr_cli.core.evaluation.verification.pairs_protocol import measure_pairs

        return measure_pairs(config, reporter)
    if len(config.photos) != 2:
        raise ConfigError("two photographs give one verdict; for many pairs there is verdicts()")
    return _compare(config, reporter)


def _compare(config: VerifyConfig, reporter: Reporter) -> VerifyResult:
    if config.save_crops is not None:
        from faceclr_cli.core.evaluation.verification.photographs import require_apart, save_crop

        for photo in config.photos:
            require_apart(config.save_crops, photo.parent, is_below=False)
    # While the photographs are decoded and searched, sface loads its network on another core.
    encoder = load_encoder(config.model, "cpu")
    rule = choose_rule(encoder, config)
    cropper, crops, notes = PhotoCropper(encoder.fingerprint, Selection(choice=config.face_choice)), [], []
    for photo in config.photos:
        aligned = cropper.crop_file(photo)
        if aligned.faces_found > 1:
            taken = _TAKEN[config.face_choice]
            text = f"{display_path(photo)}: {aligned.faces_found} faces found, the {taken} is compared"
            reporter.report(Notice(text=text, level="warning"))
        notes += [f"{display_path(photo)}: {doubt}" for doubt in doubts(aligned)]
        crops.append(aligned.crop)
    if config.save_crops is not None:
        for photo, crop in zip(config.photos, crops, strict=True):
            save_crop(config.save_crops, str(photo), crop)
    one, other = config.photos
    if filecmp.cmp(one, other, shallow=False):
        notes.insert(0, same_file_note(one, other))
    first, second = encoder.embed(np.stack(crops)).astype(np.float64)
    similarity = float(np.clip(first @ second, -1, 1))
    a, b = (str(photo) for photo in config.photos)
    return VerifyResult(
        a=a,
        b=b,
        encoder=encoder.name,
        similarity=similarity,
        threshold=rule.threshold,
        far=rule.far,
        meaning=rule.meaning,
        source=rule.source,
        same=similarity >= rule.threshold,
        probability=rule.probability(similarity),
        notes=tuple(notes),
    )


def same_file_note(a: Path | str, b: Path | str) -> str:
    """What makes a verdict worthless: both photographs are one."""
    return (
        f"{display_path(a)}: is the same file as {display_path(b)}, or a copy of it, so the verdict says "
        "nothing about the faces"
    )


_TAKEN = {"largest": "largest", "center": "one in the middle", "best": "surest", "only": "only one"}
