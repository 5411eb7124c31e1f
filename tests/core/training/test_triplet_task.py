"""The triplets of `train-triplet`."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.triplet import Mining, TripletConfig
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError, InterruptedRunError
from faceclr_cli.core.events import Event, Notice, Silent, TaskStarted
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.training import validation as embedded_module
from faceclr_cli.core.training.history import Row
from faceclr_cli.core.training.task_registry import build_task
from faceclr_cli.core.training.trainers import train as run
from faceclr_cli.core.training.training_sets import TrainingSets
from faceclr_cli.core.training.triplet_task import should_use_hard_negatives
from tests.core.training.toy import SMALL, Heard, make_faces, make_split, weights


def train(data: Path, out: Path, reporter: Heard | None = None, **options: Any) -> list[Row]:
    """Trains, and returns the rows of the history."""
    defaults = {**SMALL, "mining": "random", "epochs": 1, "batch_size": 48}
    run(TripletConfig(data=(data,), out=out, **{**defaults, **options}), reporter or Heard())
    with open(out / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def columns(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Anchors, positives and negatives."""
    stored = np.load(file)
    return stored["anchor"], stored["positive"], stored["negative"]


def people_of(data: Path) -> NDArray[np.str_]:
    """The person of each picture, in the order in which triplets count them."""
    return np.array(open_faces(data).identities)


def uses_of(file: Path, pictures: int) -> dict[str, float]:
    """Returns the expected usage metrics of these triplets."""
    named = [int(index) for column in columns(file) for index in column]
    counts = [named.count(picture) for picture in range(pictures)]
    mean = sum(counts) / pictures
    deviation = (sum((count - mean) ** 2 for count in counts) / pictures) ** 0.5
    return {"uses_mean": mean, "uses_sd": deviation, "never_used": counts.count(0)}


def said(row: Row) -> dict[str, float]:
    return {name: row[name] for name in ("uses_mean", "uses_sd", "never_used")}


@pytest.fixture(scope="module")
def kept(split: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """The triplets that a run of two epochs left, and its history."""
    folder = tmp_path_factory.mktemp("kept")
    return folder / "t.npy", train(split, folder / "run", triplets=folder / "t.npy", epochs=2)


def test_a_file_that_is_not_there_keeps_the_triplets_of_the_first_epoch(
    kept: tuple[Path, list[Row]], split: Path
) -> None:
    file, table = kept
    people = people_of(split)
    anchor, positive, negative = columns(file)
    # All people have several pictures, so each picture is an anchor once.
    assert sorted(anchor) == list(range(len(people)))
    assert (people[anchor] == people[positive]).all()
    assert (anchor != positive).all()
    assert (people[anchor] != people[negative]).all()
    uses = uses_of(file, len(people))
    assert said(table[0]) == pytest.approx(uses, rel=1e-5)
    assert said(table[1]) != pytest.approx(uses, rel=1e-5)


def test_a_file_that_is_there_is_trained_on_in_every_epoch(
    kept: tuple[Path, list[Row]], split: Path, tmp_path: Path
) -> None:
    file, _ = kept
    before = file.read_bytes()
    table = train(split, tmp_path / "run", triplets=file, epochs=2, seed=7)
    for row in table:
        assert said(row) == pytest.approx(uses_of(file, 64), rel=1e-5)
    assert file.read_bytes() == before


def test_triplets_of_other_faces_are_refused(kept: tuple[Path, list[Row]], tmp_path: Path) -> None:
    other = make_split(tmp_path / "other", people=9)
    with pytest.raises(DataError, match="another data set"):
        train(other, tmp_path / "run", triplets=kept[0])
    assert not (tmp_path / "run").exists()


def test_a_run_that_keeps_its_triplets_resumes_identically(
    kept: tuple[Path, list[Row]], split: Path, tmp_path: Path
) -> None:
    train(split, tmp_path / "run", triplets=tmp_path / "t.npy")
    table = train(split, tmp_path / "run", triplets=tmp_path / "t.npy", epochs=2, resume="yes")
    assert [said(row) for row in table] == [said(row) for row in kept[1]]


def test_a_run_on_a_triplet_file_resumes_only_with_that_file(
    kept: tuple[Path, list[Row]], split: Path, tmp_path: Path
) -> None:
    file = tmp_path / "t.npy"
    shutil.copy(kept[0], file)
    train(split, tmp_path / "run", triplets=file, seed=7)
    table = train(split, tmp_path / "run", triplets=file, seed=7, epochs=2, resume="yes")
    assert said(table[1]) == said(table[0])
    file.unlink()
    with pytest.raises(DataError, match=r"t\.npy: no such file"):
        train(split, tmp_path / "run", triplets=file, seed=7, epochs=3, resume="yes")


@pytest.mark.parametrize("mining", ["random", "bank"])
def test_the_same_seed_gives_the_same_triplets_and_weights(mining: Mining, split: Path, tmp_path: Path) -> None:
    for out, seed in (("first", 3), ("second", 3), ("third", 4)):
        train(split, tmp_path / out, triplets=tmp_path / f"{out}.npy", mining=mining, seed=seed)
    first, second, third = ((tmp_path / f"{out}.npy").read_bytes() for out in ("first", "second", "third"))
    assert first == second != third
    assert weights(tmp_path / "first") == weights(tmp_path / "second") != weights(tmp_path / "third")


@pytest.mark.parametrize("moment", ["before the bank", "within it"])
def test_a_signal_while_the_bank_is_made_writes_no_triplets(
    moment: str, split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embeddings are incomplete then: negatives would be chosen by vectors of zeros."""
    options: dict[str, Any] = {"mining": "bank", "candidates": 8, "triplets": tmp_path / "t.npy"}
    train(split, tmp_path / "whole", **options)
    expected = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "t.npy").unlink()
    embed = EncoderNetwork.forward

    def interrupted(network: EncoderNetwork, pictures: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return embed(network, pictures)

    with pytest.raises(InterruptedRunError), monkeypatch.context() as patch:
        if moment == "within it":
            patch.setattr(embedded_module, "_BATCH", 16)
            patch.setattr(EncoderNetwork, "forward", interrupted)
        train(split, tmp_path / "run", Interrupter() if moment == "before the bank" else None, **options)
    assert not (tmp_path / "t.npy").exists()
    train(split, tmp_path / "run", resume="yes", **options)
    assert (tmp_path / "t.npy").read_bytes() == expected
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


class Interrupter(Heard):
    """Sends Ctrl-C when training begins."""

    def report(self, event: Event) -> None:
        super().report(event)
        if isinstance(event, TaskStarted) and event.task == "training":
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("mining", ["random-then-hard", "random", "bank"])
@pytest.mark.parametrize("processes", [2, 3, 5])
def test_processes_share_whole_triplets_of_the_same_batches(mining: Mining, processes: int, split: Path) -> None:
    """100 pictures would be 33 triplets for one process, 16 for each of two, and 6 for each of five."""
    faces = join([(split, open_packed(open_faces(split), Silent()))])
    config = TripletConfig(**{**SMALL, "mining": mining, "batch_size": 100})
    architecture = Architecture(backbone="test_convnext", embedding_dim=8, image_size=32)
    sets = TrainingSets(train=faces, new_people=None, known_people=None)
    task = build_task(config, EncoderNetwork(architecture), sets)
    (batch,) = task.batches(0)
    assert len(batch) == 99
    parts = [task.share(batch, rank, processes) for rank in range(processes)]
    assert np.concatenate(parts).tolist() == batch.tolist()
    assert {len(part) % 3 for part in parts} == {0}
    with pytest.raises(DataError, match="33 triplets are not enough for 34"):
        task.share(batch, 0, 34)


def test_people_with_one_picture_are_negatives_and_never_anchors(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 4, 4)
    make_faces(faces, 6, 1, first=50)
    people = people_of(faces)
    (row,) = train(faces, tmp_path / "run", triplets=tmp_path / "t.npy", hold_out=0.0)
    anchor, positive, negative = columns(tmp_path / "t.npy")
    single = np.array([int(person[-2:]) >= 50 for person in people])
    assert sorted(anchor) == np.flatnonzero(~single).tolist()
    assert not single[positive].any()
    assert single[negative].any()
    assert row["never_used"] == uses_of(tmp_path / "t.npy", len(people))["never_used"] > 0


@pytest.mark.parametrize("mining", get_args(Mining))
def test_mislabeled_pictures_do_not_stop_a_run(mining: Mining, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 5, 4)
    for number in (0, 1):
        (faces / "person_000" / f"{number}.png").rename(faces / "person_001" / f"was_{number}.png")
    # The same picture under two names is a positive and a negative at no distance.
    shutil.copy(faces / "person_002" / "0.png", faces / "person_003" / "same.png")
    (row,) = train(faces, tmp_path / "run", mining=mining, hold_out=0.0, batch_size=16)
    assert np.isfinite(row["loss"])
    assert load_encoder_folder(tmp_path / "run").dim == SMALL["embedding_dim"]


def test_negatives_from_the_bank_are_close(split: Path, tmp_path: Path) -> None:
    # The first epoch's are chosen by the untrained network, which a run without epochs writes.
    run(TripletConfig(data=(split,), out=tmp_path / "untrained", epochs=0, **SMALL), Heard())
    embeddings = load_encoder_folder(tmp_path / "untrained").embed(open_packed(open_faces(split), Silent()).crops)
    people, places = people_of(split), {}
    for mining in ("random", "bank"):
        train(split, tmp_path / mining, mining=mining, triplets=tmp_path / f"{mining}.npy", candidates=8)
        anchor, _, negative = columns(tmp_path / f"{mining}.npy")
        # For each anchor, the share of all strangers who are farther than its negative.
        places[mining] = np.mean([
            (embeddings[people != people[a]] @ embeddings[a] < embeddings[n] @ embeddings[a]).mean()
            for a, n in zip(anchor, negative, strict=True)
        ])  # fmt: skip
    # The best of eight uniform numbers is 8/9 on average.
    assert places["random"] == pytest.approx(1 / 2, abs=0.12)
    assert places["bank"] == pytest.approx(8 / 9, abs=0.04)


def test_the_switch_to_hard_negatives_is_reported(split: Path, tmp_path: Path) -> None:
    heard = Heard()
    train(split, tmp_path / "run", heard, mining="random-then-hard", epochs=4, lr=0.0)  # Its loss cannot fall.
    assert [notice.text for notice in heard.of(Notice) if "hard" in notice.text] == [
        "epoch 4: the loss stopped falling; switching to hard negatives"
    ]


def history(*losses: float, **columns: list[float]) -> list[Row]:
    """Rows with these losses of training; other columns belong to the last rows."""
    rows: list[Row] = [{"loss": loss, "active": 0.5} for loss in losses]
    for name, values in columns.items():
        for row, value in zip(rows[-len(values) :], values, strict=True):
            row[name] = value
    return rows


STALLED = (1.0, 0.8, 0.8, 0.8)
"""Losses of four epochs, after which negatives become hard."""


@pytest.mark.parametrize(
    ("rows", "hard"),
    [
        (history(), False),
        (history(1.0, 0.9, 0.8, 0.7, 0.6), False),
        (history(*STALLED[:3]), False),  # The switch waits for two epochs.
        (history(*STALLED), True),
        (history(1.0, 0.8, 0.799, 0.798), True),  # A quarter of a percent does not count as a decrease.
        (history(1.0, 0.8, 0.9, 0.7), False),  # Up and down.
        (history(0.0, 0.0, 0.0), True),  # Random triplets are no longer informative.
        (history(1.0, 1.0, 1.0, 1.0, active=[0.5, 0.4, 0.3, 0.2]), False),  # Fewer triplets cost as much each.
        (history(1.0, 0.9, 0.8, 0.7, val_loss=[0.5, 0.4, 0.4, 0.4]), True),  # Validation faces take precedence.
        (history(*STALLED, val_loss=[0.5, 0.4, 0.3, 0.2]), False),
        (history(*STALLED, 2.0, 3.0, 4.0), True),  # The loss of hard triplets does not matter.
    ],
)
def test_negatives_become_hard_when_the_loss_stops_falling(rows: list[Row], hard: bool) -> None:
    assert should_use_hard_negatives(rows) is hard


@pytest.mark.parametrize(
    ("columns", "hard"),
    [
        ({"active": [0.9, 0.9]}, True),
        ({"active": [0.9, 0.99]}, False),
        ({"val_rank": [20.0, 18.0, 12.0]}, True),
        ({"val_rank": [20.0, 18.0, 9.0]}, False),
        ({"val_rank": [20.0, 30.0, 12.0]}, True),  # Compared with the last epoch of random ones.
    ],
)
def test_a_collapse_ends_hard_negatives(columns: dict[str, list[float]], hard: bool) -> None:
    rows = history(*STALLED, 0.5, 0.5, **columns)
    assert should_use_hard_negatives(rows) is hard


def test_hard_negatives_are_tried_again_after_a_collapse() -> None:
    rows = history(*STALLED, 0.2, active=[0.99])
    states = []
    for loss in (0.6, 0.6, 0.6, 0.5):
        rows = [*rows, *history(loss)]
        states.append(should_use_hard_negatives(rows))
    assert states == [False, False, True, True]  # Losses of hard negatives do not count anymore.
