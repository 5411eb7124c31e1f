"""The verdict on a measurement of preprocessing: is the best assumption clear, and is the network an encoder?"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.errors import ConfigError, ModelError
from faceclr_cli.core.evaluation.importing.labeled_crops import LabeledCrops
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import (
    Assumption,
    KnownPreprocessing,
    MeasuredAssumption,
)
from faceclr_cli.core.evaluation.importing.preprocessing_search import Search
from faceclr_cli.core.events import Notice, Reporter, Silent
from faceclr_cli.core.metrics.roc import auc, every_pair
from faceclr_cli.core.metrics.separation import separation_difference


def require_clear(pixels: Sequence[MeasuredAssumption], known: KnownPreprocessing, name: str) -> None:
    """Requires that the best assumption about the pixels is better than all different ones beyond the noise.

    Raises:
        ConfigError: Another one is within the noise; the message names both and the options.
    """
    best = pixels[0]
    rivals = [each for each in pixels[1:] if each.faces == best.faces and not (each.is_twin or each.is_clearly_worse)]
    if not rivals:
        return
    rival, options = rivals[0], []
    if known.color is None and any(each.assumption.color != best.assumption.color for each in rivals):
        options.append("--color")
    if known.scale is None and any(each.assumption.scale != best.assumption.scale for each in rivals):
        options.append("--scale")
    raise ConfigError(
        f"{name}: {_named(best.assumption)} (AUC {best.auc:.4f}, separation {best.separation:.2f}) and "
        f"{_named(rival.assumption)} ({rival.auc:.4f}, {rival.separation:.2f}) are within the noise on {best.faces} "
        f"faces; give {' and '.join(options)}, or more people in --faces"
    )


def require_encoder(search: Search, faces: LabeledCrops, name: str, is_complete: bool, reporter: Reporter) -> None:
    """Requires that the network separates people better than the pixels of the crops do.

    Args:
        search: The measurement.
        faces: The faces.
        name: Name of the network.
        is_complete: True if the user or the file states everything about the pixels; a bad network then causes a
            warning only.
        reporter: Receives the report.

    Raises:
        ModelError: The network does not separate people better.
    """
    places, rows = search.faces
    chosen = search.pixels[0].assumption
    crops, found = faces.load(chosen.template, int(places.max()) + 1, Silent())
    crops = crops[np.isin(found, places)]
    encoder, labels = PixelsEncoder(), faces.labels[places]
    side = encoder.fingerprint.size
    resized = [np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8) for crop in crops]
    baseline = encoder.embed(np.stack(resized))
    if separation_difference(rows, baseline, labels).low > 0:
        return
    own, plain = (auc(*every_pair(each, labels)) for each in (rows, baseline))
    text = f"separates people no better (AUC {own:.3f}) than the pixels of the faces do ({plain:.3f})"
    if not is_complete:
        raise ModelError(f"{name}: not a face encoder: on {len(rows)} faces it {text}")
    reporter.report(Notice(text=f"{name}: {text}", level="warning"))


def find_better_assumption(search: Search, chosen: Assumption) -> str | None:
    """Returns a sentence on an assumption that is clearly better than that of the user or the file, or None."""
    sentences = []
    for ranking in (search.others, search.templates):
        own = next((each for each in ranking if each.assumption == chosen), None)
        if own is not None and own.is_clearly_worse:
            best = ranking[0]
            sentences.append(
                f"{_named(best.assumption)} separates people better (AUC {best.auc:.4f}, separation "
                f"{best.separation:.2f}) than {_named(own.assumption)} ({own.auc:.4f}, {own.separation:.2f}), which is "
                "used because it is stated"
            )
    return "; ".join(sentences) or None


def _named(assumption: Assumption) -> str:
    return f"--color {assumption.color} --scale {assumption.scale} --template {assumption.template!r}".replace(
        "'arcface'", "arcface"
    )
