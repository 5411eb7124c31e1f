"""Conversion of a measured linear layer to a calibrated people classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.calibrate import USUAL_FARS
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.identification.people_classifier import PeopleClassifier
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledSplit, Numbers
from faceclr_cli.core.evaluation.probing.probe_models import LinearLayer, centroids
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.far_thresholds import pairs_needed
from faceclr_cli.core.metrics.probability import fit_logistic, fit_temperature
from faceclr_cli.core.metrics.roc import tar_at_far
from faceclr_cli.core.text import display_path

_FARS = (1e-1, *USUAL_FARS)
"""0.1 is included for data sets that are too small to measure any lower rate."""
_MOST_COMPARISONS = 4_000_000


def fit_classifier(
    found: LabeledSplit, layer: LinearLayer, c: float, seed: int, reporter: Reporter
) -> PeopleClassifier:
    """Makes a classifier from a linear layer that was trained on the training pictures.

    The layer is not retrained, so the classifier is the layer that was measured. The validation pictures choose the
    temperature of the probabilities, which does not change the predicted person. The validation and test pictures
    together calibrate the cosine similarity between a face and a centroid, which rejects strangers.

    Args:
        found: The pictures of one encoder.
        layer: The trained layer.
        c: Inverse regularization strength of the layer.
        seed: Seed of the sample of held-out pictures, drawn if all would be too many comparisons.
        reporter: Receives a warning if there are too few people for the false accept rate.

    Raises:
        DataError: There are too few held-out pictures to measure any false accept rate.
    """
    store, train, val = found.stores[0], found.parts.train, found.parts.val
    if store.flip == "sum":
        raise DataError(
            f"{found.names[0]}: was made with --flip sum, which classifiers do not support; use --flip mean"
        )
    temperature = np.float32(fit_temperature(layer(store.embeddings[val]), found.labels[val]))
    means = centroids(found.part(store, train))
    return PeopleClassifier(
        people=found.people,
        weights=layer.weights / temperature,
        bias=layer.bias / temperature,
        centroids=means,
        calibration=_calibrate_centroids(found, means, seed, reporter),
        encoder=store.encoder,
        encoder_digest=store.encoder_digest,
        fingerprint=store.fingerprint,
        flip=store.flip == "mean",
        source={"store": found.names[0], "pictures": len(train), "probe": "linear", "c": c},
    )


def _calibrate_centroids(found: LabeledSplit, means: NDArray[np.float32], seed: int, reporter: Reporter) -> Calibration:
    held_out = _held_out(found, seed)
    scores = np.clip(found.stores[0].embeddings[held_out] @ means.T, -1, 1)
    own = found.labels[held_out][:, None] == np.arange(len(found.people))
    fars = _rates(found, int((~own).sum()), reporter)
    values, same = scores.ravel().astype(np.float64), own.ravel()
    points = [tar_at_far(values, same, far) for far in fars]
    return Calibration(
        points=tuple(
            FarPoint(far=far, threshold=point.threshold, tar=point.tar) for far, point in zip(fars, points, strict=True)
        ),
        probability=fit_logistic(values, same),
        source=f"{len(held_out):,} held-out pictures against the centroids of {len(found.people):,} people, "
        f"{found.names[0]}",
    )


def _rates(found: LabeledSplit, impostors: int, reporter: Reporter) -> list[float]:
    """Returns the rates that the number of people allows, but at least the highest one.

    The comparisons of one person's pictures with one centroid are correlated, so pairs of people count.
    """
    highest, pairs = _FARS[0], len(found.people) * (len(found.people) - 1) // 2
    if impostors < pairs_needed(highest):
        raise DataError(
            f"{display_path(found.names[0])}: {impostors} comparisons of held-out pictures with other people's "
            f"centroids; rejecting strangers needs {pairs_needed(highest)}. Add pictures or people, or omit --save"
        )
    fars = [far for far in _FARS if pairs >= pairs_needed(far)]
    if not fars:
        text = (
            f"rejecting strangers at a FAR of {highest:g} needs {pairs_needed(highest)} pairs of people, there are "
            f"{pairs}: with other people the rate may be several times as high; add people, not pictures"
        )
        reporter.report(Notice(text=text, level="warning"))
    return fars or [highest]


def _held_out(found: LabeledSplit, seed: int) -> Numbers:
    """Returns the rows of the validation and test pictures, or a sample of them if there are too many."""
    rows = np.sort(np.concatenate([found.parts.val, found.parts.test]))
    most = max(1, _MOST_COMPARISONS // len(found.people))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return rows
