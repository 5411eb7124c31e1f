from __future__ import annotations

import numpy as np
import pytest

from faceclr_cli.core.metrics.error_discard import error_versus_discard


def transcription(scores, first, second, quality, threshold) -> list[tuple[float, float, int]]:
    """Leaves out pictures one value of quality after the other, and counts what remains each time."""
    points = []
    for limit in (-np.inf, *sorted(set(quality))):
        gone = {picture for picture, value in enumerate(quality) if value <= limit}
        left = [s for s, a, b in zip(scores, first, second, strict=True) if a not in gone and b not in gone]
        if left:
            points.append((len(gone) / len(quality), sum(score < threshold for score in left) / len(left), len(left)))
    return points


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_leaving_out_one_picture_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures, pairs = 40, 60
    quality = rng.integers(0, 25, pictures) / 7  # some are equal
    first, second = rng.integers(0, pictures, (2, pairs))
    scores = rng.normal(0.4, 0.3, pairs)
    found = error_versus_discard(scores, first, second, quality, 0.3)
    expected = transcription(scores, first, second, quality, 0.3)
    points = zip(found.discarded.tolist(), found.fnmr.tolist(), found.genuine.tolist(), strict=True)
    assert list(points) == [pytest.approx(point) for point in expected]


def test_it_needs_pairs_and_every_quality() -> None:
    for scores, quality in (([], [1.0, 2.0]), ([0.5], [1.0, np.nan])):
        with pytest.raises(ValueError, match="needs pairs, and the quality of every picture"):
            error_versus_discard(scores, [0] * len(scores), [1] * len(scores), quality, 0.3)
