"""Rounds of clustering: their clusters, training, records and interruption."""

from __future__ import annotations

import csv
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.errors import TerminatedRunError
from faceclr_cli.core.events import Event, Notice, TaskAdvanced
from faceclr_cli.core.grouping.constraints import Constraints
from faceclr_cli.core.grouping.pseudo_people import PseudoPeople
from faceclr_cli.core.training import rounds_task as module
from tests.core.training.toy import Heard, make_split, pretrain, weights

OPTIONS: dict[str, Any] = {"epochs": 6, "rounds": 2, "augment": "simclr", "lr": 3e-3, "backbone": "test_resnet"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # So much alike that no rounding on another processor decides whether a round finds distinct clusters.
    return make_split(tmp_path_factory.mktemp("people"), people=12, pictures=6, shift=2)


@pytest.fixture(scope="module")
def whole(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return pretrain(people, tmp_path_factory.mktemp("whole") / "run", **OPTIONS).run


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def notices(heard: Heard) -> list[str]:
    return [notice.text for notice in heard.of(Notice) if notice.text.startswith("round")]


def test_each_part_of_the_run_but_the_first_has_a_round_in_the_history(whole: Path) -> None:
    history = rows(whole)
    assert [row["round"] for row in history] == ["0", "0", "1", "1", "2", "2"]
    assert [row["clusters"] for row in history[:2]] == ["0", "0"] and history[0]["cluster_loss"] == ""
    for row in history[2:]:
        assert int(row["clusters"]) >= 2 and 0 < float(row["clustered"]) <= 1
        assert float(row["cluster_purity"]) > 0.8  # The people of the toy data are easy to distinguish.
        assert float(row["cluster_silhouette"]) > 0.5 and float(row["cluster_loss"]) > 0
        assert row.get("cluster_precision") is None  # There are no photographs with several faces.


def test_clusters_are_learned(tmp_path: Path) -> None:
    """Compared with a run in which the loss on the clusters has no weight, on people whose pictures differ more."""
    people, last = make_split(tmp_path / "people", people=12, pictures=6), []
    for weight in (0.0, 1.0):
        options = {**OPTIONS, "rounds": 1, "backbone": "test_convnext", "cluster_weight": weight, "whiten": 0.0}
        history = rows(pretrain(people, tmp_path / f"run-{weight}", **options).run)
        assert history[3]["round"] == "1"
        last.append((history[3]["clusters"], float(history[-1]["cluster_loss"])))
    (clusters, without), (same, learned) = last
    assert clusters == same and learned < 0.9 * without


def test_pictures_of_a_cluster_can_be_positives_of_each_other(whole: Path, people: Path, tmp_path: Path) -> None:
    """The first round forms the same clusters; then losses differ, and an interrupted run keeps the same pairs."""
    options = {**OPTIONS, "positives": "clusters"}
    paired = pretrain(people, tmp_path / "paired", **options).run
    history, others = rows(paired), rows(whole)
    assert [row["loss"] for row in history[:2]] == [row["loss"] for row in others[:2]]
    assert history[2]["clusters"] == others[2]["clusters"] and history[2]["loss"] != others[2]["loss"]
    with pytest.raises(TerminatedRunError):
        pretrain(people, tmp_path / "run", Stopper(14), **options)
    assert weights(pretrain(people, tmp_path / "run", resume="yes", **options).run) == weights(paired)


class Stopper(Heard):
    """Stops the run after a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def report(self, event: Event) -> None:
        super().report(event)
        if isinstance(event, TaskAdvanced) and event.task.startswith("epoch"):
            self._steps -= 1
            if self._steps == 0:
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("step", [8, 14])
def test_a_round_that_was_interrupted_continues_bit_identically(
    step: int, whole: Path, people: Path, tmp_path: Path
) -> None:
    with pytest.raises(TerminatedRunError):
        pretrain(people, tmp_path / "run", Stopper(step), **OPTIONS)
    resumed = pretrain(people, tmp_path / "run", resume="yes", **OPTIONS).run
    assert weights(resumed) == weights(whole)
    columns = ("step", "loss", "round", "clusters", "clustered", "cluster_purity", "cluster_silhouette")
    assert [[row[name] for name in columns] for row in rows(resumed)] == [
        [row[name] for name in columns] for row in rows(whole)
    ]


def found(now: PseudoPeople | None, monkeypatch: pytest.MonkeyPatch, calls: list[list[float]]) -> None:
    """Replaces the clusters that the second round finds."""
    real = module.find_pseudo_people

    def find(embeddings: Any, photographs: Any, shares: list[float], known: Any, least: float) -> PseudoPeople | None:
        calls.append(list(shares))
        return real(embeddings, photographs, shares, known, least) if len(calls) == 1 else now

    monkeypatch.setattr(module, "find_pseudo_people", find)


def test_a_round_without_pure_clusters_keeps_those_before_to_the_end(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[float]] = []
    found(None, monkeypatch, calls)
    heard = Heard()
    history = rows(pretrain(people, tmp_path / "run", heard, **{**OPTIONS, "epochs": 6, "rounds": 3}).run)
    first, second = notices(heard)
    assert first.startswith("round 1: ") and "purity" in first
    assert second == "round 2: the clusters are less distinct; the clusters of round 1 are kept"
    assert len(calls) == 2  # The third round forms no clusters.
    assert [row["round"] for row in history] == ["0", "0", *["1"] * 4]
    assert len({row["clusters"] for row in history[2:]}) == 1
    assert min(calls[1]) >= max(share for share in calls[0] if share <= min(calls[1]))


def test_rounds_go_on_without_clusters_if_none_are_pure(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_pseudo_people", lambda *_: None)
    heard = Heard()
    run = pretrain(people, tmp_path / "run", heard, **{**OPTIONS, "epochs": 3}).run
    assert notices(heard) == [f"round {number}: no clusters are pure enough" for number in (1, 2)]
    plain = pretrain(people, tmp_path / "plain", **{**OPTIONS, "epochs": 3, "rounds": 0}).run
    assert [row["loss"] for row in rows(run)] == [row["loss"] for row in rows(plain)]
    assert weights(run) == weights(plain)


def test_only_clustered_faces_have_a_loss_of_clusters(whole: Path, people: Path) -> None:
    """Compared with the cross-entropy of cosines with a margin, face by face."""
    from faceclr_cli.core.encoders.architecture import Architecture
    from faceclr_cli.core.encoders.network import EncoderNetwork
    from faceclr_cli.core.training.task import random_uniform
    from tests.core.training.toy import SIZE

    torch.manual_seed(0)
    network = EncoderNetwork(Architecture(backbone="test_resnet", embedding_dim=16, image_size=SIZE))
    config = PretrainConfig(method="simclr", cluster_margin=0.3, rounds=1)
    faces = type("Faces", (), {"sources": np.zeros(12, np.int64), "labels": np.full(12, -1), "__len__": lambda _: 12})()
    task = module.RoundsTask(config, network, faces, np.arange(12), Constraints.none(12)).eval()
    clusters = torch.tensor([0, 1, -1, 0, 2, -1, 1, -1, 2, 0, 1, 2])
    directions = torch.nn.functional.normalize(torch.randn(3, 16), dim=1)
    state = torch.cat(
        [torch.tensor(replace(task.now, round=1.0, clusters=3.0).values).double().view(torch.int64), clusters]
    )
    task.set_extra_state(state)
    task.classifier.restart(directions)
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (12, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    chance = random_uniform(12, 2, task.augment.draws, generator)
    _, metrics = task(crops, torch.full((12,), -1), torch.arange(12), chance)
    embeddings = torch.nn.functional.normalize(task.encoder(module.make_views(task.augment, crops, chance)), dim=1)
    losses = []
    for place, embedding in enumerate(embeddings):
        own = int(clusters[place % 12])
        if own >= 0:
            scores = [
                30 * (float((embedding @ each).detach()) - 0.3 * (own == number))
                for number, each in enumerate(directions)
            ]
            losses.append(float(np.log(np.exp(scores).sum()) - scores[own]))
    assert float(metrics["cluster_loss"]) == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 2, "epochs": 2}, "--rounds 2: requires more epochs than rounds, but --epochs is 2"),
        ({"positives": "clusters"}, "--positives clusters requires --rounds"),
        (
            {"positives": "clusters", "rounds": 1, "weights": "1"},
            "--positives clusters and --weights cannot be combined",
        ),
        ({"rounds": 1, "method": "moco"}, "--rounds requires --method simclr"),
    ],
)
def test_impossible_rounds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**options)
