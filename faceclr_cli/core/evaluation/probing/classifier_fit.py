"""From a linear layer that was measured to a classifier that can be kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.calibrate import USUAL_FARS
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.identification.people_classifier import PeopleClassifier
from faceclr_cli.core.evaluation.probing.labeled_split import LabeledSplit, Numbers
from faceclr_cli.core.evaluation.probing.probe_models import LinearLayer, centroids
from faceclr_cli.core.metrics.far_thresholds import pairs_needed
from faceclr_cli.core.metrics.probability import fit_logistic, fit_temperature
from faceclr_cli.core.metrics.roc import tar_at_far

_FARS = (1e-1, *USUAL_FARS)
"""The first is for those who have too few pictures to measure any other."""
_MOST_COMPARISONS = 4_000_000


def fit_classifier(found: LabeledSplit, layer: LinearLayer, c: float, seed: int) -> PeopleClassifier:
    """Makes a classifier of the very layer that was measured: it was trained on the training pictures alone.

    The validation pictures chose its regularization, and choose the temperature of its probabilities, which changes no
    answer; together with the test pictures, and as nothing was learned from
    them, they calibrate the cosine between a face and a centroid, which decides who is a stranger.

    Args:
        found: One encoder's pictures.
        layer: What was learned from their training part.
        c: Its inverse regularization.
        seed: Chooses among the held-out pictures, where all would be too many comparisons.

    Raises:
        DataError: They are too few to measure any false accept rate.
    """
    store, train, val = found.stores[0], found.parts.train, found.parts.val
    temperature = np.float32(fit_temperature(layer(store.embeddings[val]), found.labels[val]))
    means = centroids(found.part(store, train))
    return PeopleClassifier(
        people=found.people,
        weights=layer.weights / temperature,
        bias=layer.bias / temperature,
        centroids=means,
        calibration=_calibrated(found, means, seed),
        encoder=store.encoder,
        encoder_digest=store.encoder_digest,
        fingerprint=store.fingerprint,
        flip=store.flip,
        source={"store": found.names[0], "pictures": len(train), "probe": "linear", "c": c},
    )


def _calibrated(found: LabeledSplit, means: NDArray[np.float32], seed: int) -> Calibration:
    held_out = _held_out(found, seed)
    scores = np.clip(found.stores[0].embeddings[held_out] @ means.T, -1, 1)
    own = found.labels[held_out][:, None] == np.arange(len(found.people))
    impostors = int((~own).sum())
    fars = [far for far in _FARS if impostors >= pairs_needed(far)]
    if not fars:
        raise DataError(
            f"{found.names[0]}: {impostors} comparisons of held-out pictures with the centroids of others; to tell "
            f"strangers takes {pairs_needed(_FARS[0])}: give more pictures or people, or leave --save out"
        )
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


def _held_out(found: LabeledSplit, seed: int) -> Numbers:
    """All pictures that nothing was learned from, or where they are too many, some of them."""
    rows = np.sort(np.concatenate([found.parts.val, found.parts.test]))
    most = max(1, _MOST_COMPARISONS // len(found.people))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return rows
