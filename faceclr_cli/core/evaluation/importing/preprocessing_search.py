"""The measurement that finds a network's preprocessing: the same labeled faces, embedded under each assumption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.evaluation.importing.labeled_crops import LabeledCrops
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import (
    ARCFACE,
    TEMPLATES,
    Assumption,
    KnownPreprocessing,
    MeasuredAssumption,
    list_assumptions,
)
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.fingerprint import UNKNOWN
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.roc import auc, every_pair
from faceclr_cli.core.metrics.separation import separation, separation_difference

_STAGES = (120, 240, 480, 960)
"""Number of faces in each stage; only assumptions that are not clearly worse reach the next stage."""

_SHIFT = 2 / 112
_SHIFTED_FACES = 40
_SAME = 0.001
"""Distance at which two assumptions are the same, as (x - 127.5) / 127.5 and (x - 127.5) / 128 are: 1 minus the mean
cosine, as a share of that of two people."""

_FEWEST_FACES = 20

Rows = NDArray[np.float32]


class ForeignEmbedder(Protocol):
    """A network of another project."""

    def embed(self, crops: NDArray[np.uint8], normalization: InputNormalization) -> NDArray[np.float32]:
        """Embeds RGB crops, shape (N, side, side, 3), with the given pixels; returns L2-normalized rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Search:
    """The measurements of a search.

    Attributes:
        pixels: The assumptions about the pixels that agree with what is known, the best first.
        others: The best of `pixels` and the assumptions that do not agree, the best first; empty without such.
        templates: The alignments at the best pixels, the best first; empty if the faces are crops.
        faces: The labels and embeddings of the last faces under the best assumption, for a comparison with other
            encoders: places in `LabeledCrops.photos`, shape (N,), and rows, shape (N, dim).
    """

    pixels: tuple[MeasuredAssumption, ...]
    others: tuple[MeasuredAssumption, ...]
    templates: tuple[MeasuredAssumption, ...]
    faces: tuple[NDArray[np.int64], Rows]


def search_preprocessing(
    network: ForeignEmbedder,
    faces: LabeledCrops,
    known: KnownPreprocessing,
    *,
    takes_bytes: bool,
    seed: int,
    reporter: Reporter,
) -> Search:
    """Embeds labeled faces under each assumption and compares how well people are separated.

    On photographs, the alignments are compared at the best pixels, and the pixels once more if another alignment than
    the first one is the best.

    Args:
        network: The network.
        faces: The faces.
        known: The parts that the user or the file states. Other assumptions are measured as well, to report a better
            one.
        takes_bytes: The network takes the values 0-255 as bytes.
        seed: Seed of the bootstrap.
        reporter: Receives the progress.

    Raises:
        DataError: Too few of the pictures show a face.
        ModelError: The network fails.
    """
    race = _Race(network, faces, seed, reporter)
    own = faces.crops.template if faces.crops is not None and faces.crops.template != UNKNOWN else None
    template = known.template or own or ARCFACE
    pixels, others = race.run_pixels(known, template, takes_bytes=takes_bytes)
    templates: tuple[MeasuredAssumption, ...] = ()
    if faces.crops is None:
        names = TEMPLATES if template in TEMPLATES else (template, *TEMPLATES)
        templates = race.run([replace(pixels[0].assumption, template=name) for name in names])
        chosen = known.template or templates[0].assumption.template
        if chosen != template:
            pixels, others = race.run_pixels(known, chosen, takes_bytes=takes_bytes)
    return Search(pixels=pixels, others=others, templates=templates, faces=race.rows_of(pixels[0].assumption))


class _Race:
    """Embeds increasing numbers of faces under decreasing numbers of assumptions."""

    def __init__(self, network: ForeignEmbedder, faces: LabeledCrops, seed: int, reporter: Reporter) -> None:
        self._network, self._faces, self._seed, self._reporter = network, faces, seed, reporter
        self._rows: dict[Assumption, dict[int, Rows]] = {}
        self._stability: dict[Assumption, float] = {}

    def run_pixels(
        self, known: KnownPreprocessing, template: str, *, takes_bytes: bool
    ) -> tuple[tuple[MeasuredAssumption, ...], tuple[MeasuredAssumption, ...]]:
        """Compares the assumptions that agree with what is known, then the best of them with the others."""
        assumptions = list_assumptions(known, template, takes_bytes=takes_bytes)
        pixels = self.run([each for each in assumptions if known.allows(each)])
        others = [each for each in assumptions if not known.allows(each)]
        return pixels, self.run([pixels[0].assumption, *others]) if others else ()

    def run(self, assumptions: Sequence[Assumption]) -> tuple[MeasuredAssumption, ...]:
        """Measures all assumptions and returns them ranked: the best, then those within its noise, then the others."""
        found, running = dict[Assumption, MeasuredAssumption](), list(assumptions)
        for faces in _STAGES:
            measured = self._compare(running, faces)
            found |= {each.assumption: each for each in measured}
            running = [each.assumption for each in measured if not (each.is_clearly_worse or each.is_twin)]
            if len(running) == 1 or faces >= len(self._faces):
                break
        return tuple(sorted(found.values(), key=lambda each: (each.assumption not in running, -each.separation)))

    def rows_of(self, assumption: Assumption) -> tuple[NDArray[np.int64], Rows]:
        """Returns the places and embeddings of all faces that were embedded under an assumption."""
        rows = self._rows[assumption]
        places = sorted(rows)
        return np.array(places, np.int64), np.stack([rows[place] for place in places])

    def _compare(self, assumptions: Sequence[Assumption], faces: int) -> list[MeasuredAssumption]:
        crops = {each.template: self._faces.load(each.template, faces, self._reporter) for each in assumptions}
        places = sorted(set.intersection(*(set(found.tolist()) for _, found in crops.values())))
        labels = self._faces.labels[places]
        if len(places) < _FEWEST_FACES or len(np.unique(labels)) < 2:
            raise DataError(f"{self._faces.origin}: too few faces were found to measure on: {len(places)}")
        rows = dict[Assumption, Rows]()
        for each in track(assumptions, self._reporter, "measuring", total=len(assumptions), unit="assumptions"):
            rows[each] = self._embed(each, *crops[each.template], places)
        scores = {each: every_pair(rows[each], labels) for each in assumptions}
        impostors = {each: float(found[~same].mean()) for each, (found, same) in scores.items()}
        apart = {each: np.nan_to_num(separation(rows[each], labels)) for each in assumptions}
        twins = _find_twins(rows, impostors)
        best = max((each for each in assumptions if each not in twins), key=lambda each: apart[each])
        measured = []
        for each in assumptions:
            gap = separation_difference(rows[best], rows[each], labels, seed=self._seed)
            if each not in self._stability:
                self._stability[each] = self._measure_stability(each, crops[each.template][0], impostors[each])
            measured.append(
                MeasuredAssumption(
                    assumption=each,
                    faces=len(places),
                    auc=auc(*scores[each]),
                    separation=float(apart[each]),
                    stability=self._stability[each],
                    behind=gap.value,
                    low=gap.low,
                    high=gap.high,
                    is_twin=each in twins,
                )
            )
        return measured

    def _embed(
        self, assumption: Assumption, crops: NDArray[np.uint8], found: NDArray[np.int64], places: Sequence[int]
    ) -> Rows:
        known = self._rows.setdefault(assumption, {})
        missing = [number for number, place in enumerate(found.tolist()) if place not in known]
        if missing:
            embedded = _finite(self._network.embed(crops[missing], assumption.normalization))
            known |= dict(zip(found[missing].tolist(), embedded, strict=True))
        return np.stack([known[place] for place in places])

    def _measure_stability(self, assumption: Assumption, crops: NDArray[np.uint8], impostors: float) -> float:
        some = crops[:_SHIFTED_FACES]
        step = max(1, round(_SHIFT * self._faces.side))
        moved = np.pad(some, ((0, 0), (step, 0), (step, 0), (0, 0)), mode="edge")[:, : some.shape[1], : some.shape[2]]
        still, shifted = (_finite(self._network.embed(each, assumption.normalization)) for each in (some, moved))
        return (float(np.sum(still * shifted, axis=1).mean()) - impostors) / max(1 - impostors, 1e-6)


def _finite(rows: Rows) -> Rows:
    """Replaces NaN, which a network may return for pixels of another scale. Such rows are not an error."""
    return normalize_rows(np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0))


def _find_twins(rows: Mapping[Assumption, Rows], impostors: Mapping[Assumption, float]) -> set[Assumption]:
    """Returns the assumptions under which the embeddings are those of an earlier one."""
    twins, order = set[Assumption](), list(rows)
    for number, each in enumerate(order):
        for earlier in order[:number]:
            apart = 1 - float(np.sum(rows[each] * rows[earlier], axis=1).mean())
            # Only with the same channel order: on gray pictures, another order would give the same embeddings.
            alike = (each.template, each.color) == (earlier.template, earlier.color)
            if alike and apart <= _SAME * (1 - impostors[earlier]):
                twins.add(each)
    return twins
