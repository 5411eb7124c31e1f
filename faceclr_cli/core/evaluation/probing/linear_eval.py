"""`faceclr linear-eval`: the accuracy of a linear, nearest-neighbor or centroid probe on frozen embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.evaluation.identification.people_classifier import require_classifier_folder, write_classifier
from faceclr_cli.core.evaluation.probing.classifier_fit import fit_classifier
from faceclr_cli.core.evaluation.probing.few_shot import few_shot_curve, plan_shots
from faceclr_cli.core.evaluation.probing.labeled_split import split_sources
from faceclr_cli.core.evaluation.probing.probe_models import LinearLayer, fit_probe
from faceclr_cli.core.evaluation.probing.probe_scores import ProbeRow, measure_probe
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.plots.confusion_matrix import draw_confusion
from faceclr_cli.core.plots.figure_style import require_drawable
from faceclr_cli.core.sources.output_folders import require_outside

_TASKS = {"linear": "training linear layers", "knn": "searching neighbors", "centroid": "comparing centroids"}


@dataclass(frozen=True, kw_only=True)
class LinearEvalResult:
    """The probe results of all stores, measured on the same pictures.

    Attributes:
        rows: One row per store, in order.
        probe: The kind of probe.
        people: Number of people.
        train: Number of training pictures.
        val: Number of validation pictures, which choose the hyperparameters.
        test: Number of test pictures.
        chance: Accuracy of always predicting the person with the most test pictures.
        shot_people: Number of people in the few-shot curve; None without one.
    """

    rows: tuple[ProbeRow, ...]
    probe: str
    people: int
    train: int
    val: int
    test: int
    chance: float
    shot_people: int | None

    @property
    def pictures(self) -> int:
        """Total number of pictures."""
        return self.train + self.val + self.test

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        return {"rows": [row.to_json() for row in self.rows]} | fields | {"pictures": self.pictures}


def linear_eval(config: LinearEvalConfig, reporter: Reporter) -> LinearEvalResult:
    """Trains and measures the probe on each store; draws the confusion matrix and saves the classifier if requested.

    Raises:
        ConfigError: No store was given, the figure format is not supported, or the classifier would overwrite other
            files.
        DataError: A store cannot be read, has too few people with enough pictures, or has different pictures from the
            first store; or an output cannot be written.
        FingerprintError: The crops of the stores were made differently.
        ModelError: The encoder for folders does not exist, or the parts were embedded by different encoders.
    """
    # Invalid outputs are reported before the training, which may take long.
    if config.plot is not None:
        require_drawable(config.plot)
        for source in config.stores:
            require_outside("--plot", config.plot, source)
    if config.save is not None:
        require_classifier_folder(config.save)
    found = split_sources(config, reporter)
    plan = plan_shots(found, config.shot_counts, config.draws, config.seed, reporter)
    rows = []
    pairs = list(zip(found.names, found.stores, strict=True))
    for name, store in track(pairs, reporter, _TASKS[config.probe], total=len(pairs), unit="stores"):
        learned = fit_probe(config.probe, found.part(store, found.parts.train), found.part(store, found.parts.val))
        if not learned.finished:
            reporter.report(Notice(text=f"{name}: the layer had not converged when training stopped", level="warning"))
        shots = () if plan is None else few_shot_curve(config.probe, store, plan)
        rows.append(measure_probe(name, store, learned, found, shots, config))
        if config.save is not None and isinstance(learned.score, LinearLayer) and learned.c is not None:
            classifier = fit_classifier(found, learned.score, learned.c, config.seed, reporter)
            write_classifier(classifier, config.save, to_json(config))
    if config.plot is not None:
        title = f"{rows[0].encoder}: confusion matrix"
        draw_confusion(config.plot, rows[0].matrix, found.people, title)
    test = found.labels[found.parts.test]
    return LinearEvalResult(
        rows=tuple(rows),
        probe=config.probe,
        people=len(found.people),
        train=len(found.parts.train),
        val=len(found.parts.val),
        test=len(test),
        chance=float(np.bincount(test).max() / len(test)),
        shot_people=None if plan is None else plan.people,
    )
