"""`faceclr linear-eval`: how well a single linear layer tells people apart in frozen embeddings."""

from __future__ import annotations

import copy
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.embeddings.store import Store, ask_for_store, read_store, rows_of_most_pictured
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.metrics.classification import class_scores, top_k_accuracy
from faceclr_cli.core.metrics.knn import knn_accuracy

_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse regularisations to choose from, strongest first."""
_STEPS = 300
_WORTH_THREADS = 50_000_000
"""Multiplications per step below which threads wait for each other longer than they work."""


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """What one store reached on the test pictures.

    Attributes:
        store: The file.
        encoder: Who made its embeddings.
        dim: Their length.
        top1: Accuracy.
        top3: Share of pictures whose person is among the three likeliest; None with three people or fewer.
        top5: The same of five.
        jaccard: Macro mean over people.
        precision: Macro mean over people.
        recall: Macro mean over people.
        f1: Macro mean over people.
        knn: Leave-one-out 1-nearest-neighbour accuracy over all pictures, with no layer trained.
        c: Inverse regularisation that was best on the validation pictures.
    """

    store: str
    encoder: str
    dim: int
    top1: float
    top3: float | None
    top5: float | None
    jaccard: float
    precision: float
    recall: float
    f1: float
    knn: float
    c: float


@dataclass(frozen=True, kw_only=True)
class LinearEvalResult:
    """One row per store, all measured on the same pictures.

    Attributes:
        rows: In the order of the stores.
        people: How many people were told apart.
        train: Pictures that the layer learned from.
        val: Pictures that chose its regularisation.
        test: Pictures that it was measured on.
        chance: Accuracy of always guessing the person with the most test pictures.
    """

    rows: tuple[ProbeRow, ...]
    people: int
    train: int
    val: int
    test: int
    chance: float

    @property
    def pictures(self) -> int:
        """How many there are in all."""
        return self.train + self.val + self.test

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"pictures": self.pictures, "rows": [asdict(row) for row in self.rows]}


@dataclass(frozen=True)
class _Parts:
    """Rows of each part; the pictures of every person are in all three."""

    train: NDArray[np.int_]
    val: NDArray[np.int_]
    test: NDArray[np.int_]


def run(config: LinearEvalConfig, reporter: Reporter) -> LinearEvalResult:
    """Trains and measures the layer on each store.

    Raises:
        ConfigError: No store was given.
        DataError: A store cannot be read, has too few people with enough pictures, or holds other pictures
            than the first.
        FingerprintError: The stores' crops were made differently.
    """
    if not config.stores:
        raise ConfigError(ask_for_store("linear-eval"))
    stores = [_labelled(path, config) for path in config.stores]
    for path, store in zip(config.stores[1:], stores[1:], strict=True):
        _require_same_pictures(config.stores[0], stores[0], path, store)
    people, labels = np.unique(np.array(stores[0].identities), return_inverse=True)
    parts = _divide(labels, config.seed)
    named = list(zip(config.stores, stores, strict=True))
    rows = tuple(
        _measure(path, store, labels, parts, reporter)
        for path, store in track(named, reporter, "training linear layers", total=len(named), unit="stores")
    )
    return LinearEvalResult(
        rows=rows,
        people=len(people),
        train=len(parts.train),
        val=len(parts.val),
        test=len(parts.test),
        chance=float(np.bincount(labels[parts.test]).max() / len(parts.test)),
    )


def _labelled(path: Path, config: LinearEvalConfig) -> Store:
    """The pictures that count, by path."""
    store = read_store(path)
    if not store.people:
        raise DataError(f"{path}: says of no face whose it is; embed a folder with one sub-folder per person")
    rows = rows_of_most_pictured(store, config.identities, config.min_images)
    chosen = store.take(sorted(rows, key=lambda row: store.paths[row]))
    if len(chosen.people) < 2:
        raise DataError(
            f"{path}: {len(chosen.people)} of its {len(store.people)} people have {config.min_images} pictures "
            "or more; a comparison needs two"
        )
    return chosen


def _require_same_pictures(first_path: Path, first: Store, path: Path, store: Store) -> None:
    first.fingerprint.require_same_crops(store.fingerprint, str(first_path), str(path))
    ours, theirs = (set(zip(s.paths, s.identities, s.content_hashes, strict=True)) for s in (first, store))
    if ours != theirs or len(first) != len(store):
        odd = min((path for path, _, _ in ours ^ theirs), default=first.paths[0])
        raise DataError(
            f"{first_path} and {path} hold different pictures ({odd} is not the same in both); "
            "embed the same folder with each encoder"
        )


def _divide(labels: NDArray[np.int_], seed: int) -> _Parts:
    """60/20/20 of each person's pictures, at least one in each part."""
    rng = np.random.default_rng(seed)
    train, val, test = [], [], []
    for person in range(labels.max() + 1):
        mine = rng.permutation(np.flatnonzero(labels == person))
        held_out = max(1, round(0.2 * len(mine)))
        val.append(mine[:held_out])
        test.append(mine[held_out : 2 * held_out])
        train.append(mine[2 * held_out :])
    return _Parts(np.concatenate(train), np.concatenate(val), np.concatenate(test))


def _measure(path: Path, store: Store, labels: NDArray[np.int_], parts: _Parts, reporter: Reporter) -> ProbeRow:
    people = int(labels.max()) + 1
    work = len(parts.train) * min(store.dim, len(parts.train)) * people
    with threadpool_limits(limits=None if work > _WORTH_THREADS else 1):
        features = _scaled(store.embeddings, parts.train)
        model = _fit(features, labels, parts)
    if model.n_iter_.max() >= _STEPS:
        reporter.report(Notice(text=f"{path}: the layer was still improving after {_STEPS} steps", level="warning"))
    scores = model.decision_function(features[parts.test])
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    truth = labels[parts.test]
    named = class_scores(truth, scores.argmax(axis=1))
    return ProbeRow(
        store=str(path),
        encoder=store.encoder,
        dim=store.dim,
        top1=named.accuracy,
        top3=top_k_accuracy(scores, truth, 3) if people > 3 else None,
        top5=top_k_accuracy(scores, truth, 5) if people > 5 else None,
        jaccard=named.jaccard,
        precision=named.precision,
        recall=named.recall,
        f1=named.f1,
        knn=knn_accuracy(store.embeddings, labels),
        c=float(model.C),
    )


def _scaled(embeddings: NDArray[np.float32], train: NDArray[np.int_]) -> NDArray[np.float32]:
    """Centred, and all values times one number, so that their angles stay what the encoder made them.

    One regularisation then means the same to embeddings of any length. Where embeddings are much longer
    than training pictures are many, they are expressed in the span of those: the layer is the same, since the
    weights that a squared penalty leaves never point out of it, and is learned faster.
    """
    centred = embeddings - embeddings[train].mean(axis=0)
    scale = float(np.sqrt(np.mean(centred[train] ** 2)))
    scaled: NDArray[np.float32] = centred / max(scale, 1e-12)
    if 2 * len(train) < scaled.shape[1]:
        _, _, span = np.linalg.svd(scaled[train], full_matrices=False)
        scaled = scaled @ span.T
    return scaled


def _fit(features: NDArray[np.float32], labels: NDArray[np.int_], parts: _Parts) -> LogisticRegression:
    """Multinomial logistic regression with the regularisation that names most validation pictures right."""
    # Each strength starts where the one before ended.
    model = LogisticRegression(warm_start=True, max_iter=_STEPS)
    best, best_accuracy = None, -1.0
    for c in _STRENGTHS:
        model.set_params(C=c)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[parts.train], labels[parts.train])
        accuracy = float(model.score(features[parts.val], labels[parts.val]))
        if accuracy > best_accuracy:
            best, best_accuracy = copy.deepcopy(model), accuracy
    return best
