"""Templates against a slow transcription of the IJB protocol, picture by picture and pair by pair."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from faceclr_cli.core.metrics import template_vectors
from faceclr_cli.core.metrics.all_pairs import measure_blocks
from faceclr_cli.core.metrics.template_vectors import NOT_ENROLLED, TemplateVectors, pool_templates

COUNT = 23
EMPTY = 7


@pytest.fixture
def album() -> dict[str, np.ndarray]:
    """Pictures of templates in random order; one template has none, and media have up to five pictures."""
    rng = np.random.default_rng(0)
    templates = np.repeat([number for number in range(COUNT) if number != EMPTY], 9)
    media = templates * 10 + rng.integers(0, 4, len(templates)) * rng.integers(0, 2, len(templates))
    faces = rng.normal(size=(60, 12))
    order = rng.permutation(len(templates))
    return {
        "embeddings": (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32),
        "templates": templates[order],
        "media": media[order],
        "rows": rng.integers(0, 60, len(templates)),
        "weights": rng.uniform(0.1, 30, len(templates)),
    }


def slow(album: dict[str, np.ndarray], number: int, *, weighted: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """The vector of a template, and the normalized vectors of its media, as the protocol is written down."""
    total, parts = np.zeros(12), []
    mine = album["templates"] == number
    for medium in np.unique(album["media"][mine]):
        frames = [
            album["embeddings"][row].astype(np.float64) * (weight if weighted else 1)
            for row, weight in zip(
                album["rows"][mine & (album["media"] == medium)],
                album["weights"][mine & (album["media"] == medium)],
                strict=True,
            )
        ]
        mean = np.mean(frames, axis=0)
        total += mean
        parts.append(mean / np.linalg.norm(mean))
    return total / max(float(np.linalg.norm(total)), 1e-30), parts


def pooled(album: dict[str, np.ndarray], *, weighted: bool = False, keep_media: bool = False) -> TemplateVectors:
    return pool_templates(
        album["embeddings"],
        album["templates"],
        album["media"],
        rows=album["rows"],
        weights=album["weights"] if weighted else None,
        count=COUNT,
        keep_media=keep_media,
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("block", [1, 20, 1 << 14])
def test_media_are_pooled_before_templates(
    album: dict[str, np.ndarray], weighted: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_vectors, "_ROWS_AT_ONCE", block)
    whole, parts = pooled(album, weighted=weighted), pooled(album, weighted=weighted, keep_media=True)
    assert len(whole) == len(parts) == COUNT
    assert whole.sizes.tolist() == [int(number != EMPTY) for number in range(COUNT)]
    for number in range(COUNT):
        if number != EMPTY:
            expected, media = slow(album, number, weighted=weighted)
            np.testing.assert_allclose(whole.of(number)[0], expected, atol=1e-6)
            np.testing.assert_allclose(parts.of(number), media, atol=1e-6)


def test_a_long_video_does_not_outweigh_a_photograph() -> None:
    faces = np.array([[1, 0], *[[0, 1]] * 99], np.float32)
    one = pool_templates(faces, [0] * 100, [0, *[1] * 99])
    np.testing.assert_allclose(one.vectors, [[np.sqrt(0.5)] * 2], rtol=1e-6)
    each = pool_templates(faces, [0] * 100, range(100))
    assert each.vectors[0, 1] > 0.99


@pytest.mark.parametrize("keep_media", [False, True])
def test_similarities_are_the_highest_of_any_two_vectors(
    album: dict[str, np.ndarray], keep_media: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = pooled(album, keep_media=keep_media)
    left, right = np.random.default_rng(1).integers(-1, COUNT, (2, 700))
    for pairs, numbers in ((3, 64 * 5), (1 << 12, 1 << 24)):
        monkeypatch.setattr(template_vectors, "_PAIRS_AT_ONCE", pairs)
        monkeypatch.setattr(template_vectors, "_AT_ONCE", numbers)
        scores = vectors.similarities(left, right)
        for one, other, score in zip(left, right, scores, strict=True):
            if {-1, EMPTY} & {int(one), int(other)}:
                assert score == NOT_ENROLLED
            else:
                expected = max(a @ b for a in vectors.of(one) for b in vectors.of(other))
                assert score == pytest.approx(min(expected, 1), abs=1e-6)


@pytest.mark.parametrize("keep_media", [False, True])
@pytest.mark.parametrize("limit", [1, 300, 1 << 24])
def test_all_pairs_are_those_of_two_loops(
    album: dict[str, np.ndarray], keep_media: bool, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_vectors, "_AT_ONCE", limit)
    chosen = [number for number in range(COUNT) if number != EMPTY]
    vectors, people = pooled(album, keep_media=keep_media).take(chosen), np.arange(len(chosen)) // 3
    found: dict[bool, list[float]] = {True: [], False: []}
    for a, b in combinations(range(len(chosen)), 2):
        found[bool(people[a] == people[b])].append(max(one @ other for one in vectors.of(a) for other in vectors.of(b)))
    blocks = list(vectors.all_pairs(people))
    for place, same in enumerate((True, False)):
        scores = np.sort(np.concatenate([block[place] for block in blocks]))
        np.testing.assert_allclose(scores, np.sort(found[same]), atol=1e-6)


def test_scores_in_blocks_are_measured_as_scikit_learn_measures_them_at_once() -> None:
    rng = np.random.default_rng(3)
    same = rng.random(20_000) < 0.02
    scores = np.clip(rng.normal(np.where(same, 0.5, 0.0), 0.2), -1, 1).astype(np.float32).round(3)

    def blocks():
        for start in range(0, len(scores), 777):
            part, kind = scores[start : start + 777], same[start : start + 777]
            yield part[kind], part[~kind]

    fars = (1e-4, 1e-3, 1e-2, 1e-1)
    measured = measure_blocks(blocks, fars)
    assert measured.auc == pytest.approx(roc_auc_score(same, scores), abs=1e-9)
    fprs, tprs, _ = roc_curve(same, scores, drop_intermediate=False)
    assert [point.tar for point in measured.points] == pytest.approx([tprs[fprs <= far].max() for far in fars])


@pytest.mark.parametrize("weights", [[1, -1], [1, np.nan], [1]])
def test_bad_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        pool_templates(np.eye(2, dtype=np.float32), [0, 0], [0, 1], weights=weights)
