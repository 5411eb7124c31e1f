"""`faceclr verify`: the verdict on two photographs, and the entry point of the verification protocols.

Two photographs are compared interactively, so this path imports nothing slower than OpenCV.
"""

from __future__ import annotations

import filecmp
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.decision_rule import Rule, choose_rule
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.faces.quality import describe_doubts
from faceclr_cli.core.text import display_path

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.verification.all_pairs_protocol import AllPairsResult
    from faceclr_cli.core.evaluation.verification.pairs_result import PairsResult
    from faceclr_cli.core.evaluation.verification.template_protocol import TemplatesResult


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """The verdict on two photographs.

    Attributes:
        a: The first photograph.
        b: The second photograph.
        encoder: Name of the encoder.
        similarity: Cosine similarity of the embeddings, -1 to 1.
        threshold: Minimum similarity for "same person".
        far: The measured false accept rate at the threshold, or None if the user set the threshold.
        meaning: A description of the threshold.
        source: A description of the calibration data; None if the user set the threshold.
        same: True if the verdict is "same person".
        probability: Probability of the same person for a prior of 0.5, or None if the encoder is not calibrated.
        notes: Warnings about the quality of the verdict, each beginning with the photograph's name.
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


def verify(config: VerifyConfig, reporter: Reporter) -> VerifyResult | PairsResult | AllPairsResult | TemplatesResult:
    """Compares two photographs or two folders, or measures an encoder on pairs, depending on the config.

    Use `verdicts` for verdicts on many pairs.

    Raises:
        UnreadableImageError: A photograph cannot be decoded.
        NoFaceError: No face was found in a photograph.
        DataError: A file is missing, or the pairs and the pictures do not match.
        ModelError: The encoder does not exist.
        FingerprintError: The faces were prepared differently from what the encoder needs.
        ConfigError: The encoder has no threshold and none was given, or the config does not name two photographs.
    """
    if config.template is not None:
        from faceclr_cli.core.evaluation.verification.template_protocol import compare_folders, measure_templates

        return measure_templates(config, reporter) if config.is_evaluation else compare_folders(config, reporter)
    if config.all_pairs and config.embeddings is not None:
        from faceclr_cli.core.evaluation.verification.all_pairs_protocol import measure_store

        return measure_store(config, config.embeddings, reporter)
    if config.is_evaluation:
        from faceclr_cli.core.evaluation.verification.pairs_protocol import measure_pairs

        return measure_pairs(config, reporter)
    if len(config.photos) != 2:
        raise ConfigError("verify() compares exactly two photographs; use verdicts() for many pairs")
    folder = next((photo for photo in config.photos if photo.is_dir()), None)
    if folder is not None:
        raise ConfigError(
            f"{display_path(folder)}: is a folder; to compare two folders, each of one person, add --template mean"
        )
    return _compare(config, reporter)


def _compare(config: VerifyConfig, reporter: Reporter) -> VerifyResult:
    if config.save_crops is not None:
        from faceclr_cli.core.evaluation.verification.photographs import crop_path, save_crop
        from faceclr_cli.core.sources.output_folders import require_output_folder

        folders = [photo.parent for photo in config.photos]
        within = [crop_path(config.save_crops, str(photo)).parent for photo in config.photos]
        require_output_folder("--save-crops", config.save_crops, folders, within)
    # sface loads its network on another core while the faces are detected.
    encoder = load_encoder(config.model, "cpu", one_off=True)
    rule = choose_rule(encoder, config)
    cropper, crops, notes = PhotoCropper(encoder.fingerprint, Selection(choice=config.face_choice)), [], []
    for photo in config.photos:
        aligned = cropper.crop_file(photo)
        if aligned.faces_found > 1:
            taken = _FACE_TAKEN[config.face_choice]
            text = f"{display_path(photo)}: {aligned.faces_found} faces found, the {taken} is compared"
            reporter.report(Notice(text=text, level="warning"))
        notes += [f"{display_path(photo)}: {doubt}" for doubt in describe_doubts(aligned)]
        crops.append(aligned.crop)
    if config.save_crops is not None:
        for photo, crop in zip(config.photos, crops, strict=True):
            save_crop(config.save_crops, str(photo), crop)
    one, other = config.photos
    if filecmp.cmp(one, other, shallow=False):
        notes.insert(0, same_file_note(one, other))
    first, second = encoder.embed(np.stack(crops)).astype(np.float64)
    return decide((one, other), float(first @ second), encoder, rule, notes)


def decide(
    photos: tuple[Path, ...], similarity: float, encoder: Encoder, rule: Rule, notes: Sequence[str]
) -> VerifyResult:
    """Applies a decision rule to the similarity of two photographs, or of two folders of photographs of one person.

    Args:
        photos: The two paths.
        similarity: Cosine of the embeddings, which rounding may put just outside -1 to 1.
        encoder: The encoder that computed the embeddings.
        rule: The decision rule.
        notes: Warnings about the quality of the verdict.
    """
    similarity = float(np.clip(similarity, -1, 1))
    a, b = map(str, photos)
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
    """Returns the warning for two photographs with the same content."""
    if str(a) == str(b):
        return f"{display_path(a)}: compared with itself, so the verdict says nothing about the faces"
    return (
        f"{display_path(a)}: is the same file as {display_path(b)}, or a copy of it, so the verdict says "
        "nothing about the faces"
    )


_FACE_TAKEN = {"largest": "largest", "center": "most central", "best": "most confident detection", "only": "only one"}
