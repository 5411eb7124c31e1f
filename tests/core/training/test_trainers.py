from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from faceclr_cli.core.artifacts import exclusive
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import Mining, TripletConfig
from faceclr_cli.core.datasets.packed_faces import open_packed
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder, load_network
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError, LockedError, ModelError
from faceclr_cli.core.events import EpochFinished, Event, Notice, Silent, TaskAdvanced, TaskStarted
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.losses.triplet_loss import Mining as Chosen
from faceclr_cli.core.training import training_sets as sets_module
from faceclr_cli.core.training import validation as watch
from faceclr_cli.core.training.resolved_options import claim_run_folder
from faceclr_cli.core.training.run_folder import best_epoch
from faceclr_cli.core.training.trainers import train as run
from tests.core.training.toy import SIZE, SMALL, Heard, describe_faces, make_faces, make_split, pretrain, weights


def rows(run_folder: Path) -> list[dict[str, float]]:
    with open(run_folder / "history.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_pretraining_learns_and_leaves_a_whole_run(split: Path, tmp_path: Path) -> None:
    heard = Heard()
    result = pretrain(split, tmp_path / "run", heard, epochs=8, lr=3e-3)
    table = rows(result.run)
    of_steps = ["epoch", "step", "loss", "top1", "top5", "lr", "pictures_per_second", "seconds"]
    of_people = ["val_pictures", "val_people", "val_genuine", "val_impostor", "val_knn", "val_knn_low", "val_knn_high"]
    of_people += ["val_knn_chance", "val_threshold", "val_accuracy", "val_accuracy_low", "val_accuracy_high"]
    of_people += ["val_far", "val_tar", "val_tar@1e-1"]
    assert list(table[0]) == [
        *of_steps,
        "cosine",
        *of_people,
        "val_rank",
        "val_alignment",
        "val_uniformity",
        "val_top1",
    ]
    assert [row["epoch"] for row in table] == list(range(1, 9))
    assert [row["step"] for row in table] == [4 * epoch for epoch in range(1, 9)]
    assert table[-1]["loss"] < 0.8 * table[0]["loss"]
    assert table[-1]["top1"] > table[0]["top1"]
    assert len(heard.of(EpochFinished)) == result.epochs == 8
    assert heard.of(TaskAdvanced)[-1].done == 64
    config = json.loads((result.run / "config.json").read_text())
    assert (config["kind"], config["command"], config["config"]["epochs"]) == ("run", "pretrain", 8)
    assert json.loads(json.dumps(result.to_json()))["metrics"]["loss"] == pytest.approx(table[-1]["loss"], rel=1e-5)


def test_tensorboard_reads_the_numbers_of_the_table(split: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = pretrain(split, tmp_path / "run", epochs=2)
    events = accumulator.EventAccumulator(str(result.run))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss")]
    assert losses == [(row["step"], pytest.approx(row["loss"], rel=1e-5)) for row in rows(result.run)]


@pytest.mark.parametrize("mining", get_args(Chosen))
def test_triplets_become_rarer(mining: Chosen, split: Path, tmp_path: Path) -> None:
    config = TripletConfig(data=(split,), out=tmp_path / "run", mining=mining, pictures=4, epochs=8, lr=3e-3, **SMALL)
    table = rows(run(config, Heard()).run)
    assert table[-1]["active"] < 0.6 * table[0]["active"]


def random_triplets_cost(run_folder: Path, faces: Path) -> float:
    """The mean loss of many random triplets of these faces, by the encoder of a run."""
    packed, rng = open_packed(open_faces(faces), Silent()), np.random.default_rng(0)
    embeddings, losses = load_encoder_folder(run_folder).embed(packed.crops), []
    for _ in range(2000):
        anchor, positive = rng.choice(np.flatnonzero(packed.labels == rng.choice(packed.labels)), 2, replace=False)
        negative = rng.choice(np.flatnonzero(packed.labels != packed.labels[anchor]))
        near, far = (np.square(embeddings[anchor] - embeddings[other]).sum() for other in (positive, negative))
        losses.append(max(0.0, 0.2 + near - far))
    return float(np.mean(losses))


@pytest.mark.parametrize("mining", ["random", "bank", "random-then-hard"])
def test_listed_triplets_make_others_easy(mining: Mining, split: Path, tmp_path: Path) -> None:
    # The share of active triplets is not comparable if each epoch has other, harder triplets.
    options = {**SMALL, "batch_size": 48}
    untrained = run(TripletConfig(data=(split,), out=tmp_path / "untrained", epochs=0, **options), Heard()).run
    config = TripletConfig(
        data=(split,), out=tmp_path / "run", mining=mining, candidates=4, epochs=8, lr=1e-3, **options
    )
    trained = run(config, Heard()).run
    assert random_triplets_cost(trained, split) < 0.5 * random_triplets_cost(untrained, split)


def test_people_are_classified(split: Path, tmp_path: Path) -> None:
    config = CenterConfig(data=(split,), out=tmp_path / "run", epochs=8, optimizer="adamw", lr=3e-3, **SMALL)
    heard = Heard()
    table = rows(run(config, heard).run)
    assert table[-1]["accuracy"] > 0.9
    assert table[-1]["loss"] < 0.5 * table[0]["loss"]
    opening = "\n".join(notice.text for notice in heard.of(Notice))
    assert "on 56 pictures of 8 people in batches" in opening
    # One picture of each person, and five people who are not in the training set.
    assert "validating on 28 held-out pictures of 13 people" in opening


def test_the_best_encoder_is_kept(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.5, 0.9, 0.9, 0.7])
    measure = watch.measure_recognition
    monkeypatch.setattr(watch, "measure_recognition", lambda *given: replace(measure(*given), knn=next(accuracies)))
    kept: list[str] = []

    class Onlooker(Heard):
        def report(self, event: Event) -> None:
            if isinstance(event, EpochFinished):
                kept.append(weights(tmp_path / "run"))

    result = pretrain(split, tmp_path / "run", Onlooker(), epochs=4)
    assert (result.best_epoch, result.best_by) == (3, "val_knn")  # The later one among equal epochs.
    assert result.best is not None and result.best["val_knn"] == 0.9
    assert len(set(kept[:3])) == 3
    assert weights(result.run) == kept[3] == kept[2]


def test_without_other_people_the_last_encoder_is_kept(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 4, 4)
    result = pretrain(faces, tmp_path / "run", epochs=2)
    assert result.best_epoch is None
    assert "val_knn" not in rows(result.run)[0]
    assert load_encoder_folder(result.run).dim == 32


def test_no_epochs_write_the_untrained_network(split: Path, tmp_path: Path) -> None:
    result = pretrain(split, tmp_path / "run", epochs=0)
    again = pretrain(split, tmp_path / "again", epochs=0)
    other = pretrain(split, tmp_path / "other", epochs=0, seed=1)
    assert result.epochs == 0
    assert 0 <= result.metrics["val_knn"] <= 1
    assert load_encoder_folder(result.encoder).digest == load_encoder_folder(again.encoder).digest
    assert load_encoder_folder(result.encoder).digest != load_encoder_folder(other.encoder).digest


def test_the_card_lists_the_training_people(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 3, 4)
    card = load_encoder_folder(pretrain(faces, tmp_path / "run", epochs=0).encoder).card
    assert (card.command, card.data, card.pictures) == ("pretrain", "faces", 12)
    assert card.people == {"person_000": 4, "person_001": 4, "person_002": 4}
    assert card.config["data"] == [str(faces.resolve())]


def test_a_run_starts_from_another(split: Path, tmp_path: Path) -> None:
    first = pretrain(split, tmp_path / "first", epochs=1)
    config = CenterConfig(data=(split,), out=tmp_path / "second", init=str(first.run), epochs=0, image_size=SIZE)
    second = run(config, Heard())
    former, latter = load_encoder_folder(first.encoder), load_encoder_folder(second.encoder)
    assert latter.dim == 32  # The weights determine the architecture.
    crops = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    assert np.array_equal(former.embed(crops), latter.embed(crops))
    assert json.loads((second.run / "config.json").read_text())["config"]["backbone"] == "test_convnext"


def test_an_encoder_that_recognizes_people_keeps_its_image_size(split: Path, tmp_path: Path) -> None:
    label_free = pretrain(split, tmp_path / "label-free", epochs=0).run
    common: dict[str, Any] = {"data": (split,), "epochs": 0, "batch_size": 16, "precision": "32"}
    network: dict[str, Any] = {"init": "random", "backbone": "test_resnet", "image_size": 40}
    student = run(DistillConfig(out=tmp_path / "first", teacher=(str(label_free),), **network, **common), Heard()).run

    def size_of(config: TrainConfig) -> int:
        return load_network(run(config, Heard()).run)[0].architecture.image_size

    for config in (PretrainConfig, CenterConfig, TripletConfig):
        out = tmp_path / config.__name__
        assert size_of(config(out=out, init=str(student), **common)) == 40
        assert size_of(config(out=tmp_path / f"{out.name}-again", init=str(out), **common)) == 40
    assert size_of(CenterConfig(out=tmp_path / "smaller", init=str(student), image_size=32, **common)) == 32
    assert size_of(CenterConfig(out=tmp_path / "larger", init=str(label_free), **common)) == 112


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"backbone": "test_resnet"},
            "--backbone test_resnet: no effect, because the encoder in --init {} has test_convnext",
        ),
        ({"pool": "mean"}, "--pool mean: no effect, because the encoder in --init {} has none"),
        (
            {"backbone_args": ("patch_size=2",)},
            "--backbone-args patch_size=2: no effect, because the encoder in --init {} has none",
        ),
    ],
)
def test_an_encoder_is_not_silently_trained_as_another_network(
    options: dict[str, object], text: str, split: Path, tmp_path: Path
) -> None:
    init = pretrain(split, tmp_path / "first", epochs=0).run
    common = {"init": str(init), "image_size": SIZE, "epochs": 0, "batch_size": 16, "precision": "32"}
    wanted = load_network(init)[0].architecture

    def notices(config: TrainConfig) -> list[str]:
        heard = Heard()
        assert load_network(run(config, heard).run)[0].architecture == wanted
        return [notice.text for notice in heard.of(Notice) if "no effect" in notice.text]

    student = partial(DistillConfig, teacher=(str(init),))
    for number, config in enumerate((PretrainConfig, student, TripletConfig, CenterConfig)):
        started = config(data=(split,), out=tmp_path / f"{number}", **common, **options)
        assert notices(started) == [text.format(init)]
        assert notices(replace(started, resume="yes")) == [text.format(init)]
    own = PretrainConfig(data=(split,), out=tmp_path / "own", backbone="test_convnext", **common)
    assert notices(own) == []


def test_a_misspelled_network_is_reported_before_the_faces_are_decoded(split: Path, tmp_path: Path) -> None:
    decoded = Heard()
    pretrain(make_faces(tmp_path / "others", 3, 4, first=50), tmp_path / "run", decoded, epochs=0)
    heard = Heard()
    with pytest.raises(ConfigError, match="resnet19"):
        pretrain(make_faces(tmp_path / "faces", 3, 4), tmp_path / "other", heard, backbone="resnet19")
    tasks = [[event.task for event in reporter.of(TaskStarted)] for reporter in (decoded, heard)]
    assert "decoding faces" in tasks[0] and not tasks[1]


def test_a_run_does_not_start_from_other_crops(split: Path, tmp_path: Path) -> None:
    first = pretrain(split, tmp_path / "first", epochs=0)
    other = make_faces(tmp_path / "other", 3, 4, template="another")
    with pytest.raises(FingerprintError, match="template"):
        pretrain(other, tmp_path / "second", init=str(first.run), epochs=0)
    assert not (tmp_path / "second").exists()


def test_random_numbers_of_the_caller_stay(split: Path, tmp_path: Path) -> None:
    import torch

    before = torch.get_rng_state()
    pretrain(split, tmp_path / "run", epochs=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("config", [PretrainConfig, TripletConfig, CenterConfig])
def test_face_networks_and_arguments_of_backbones_reach_the_encoder(
    config: type[TrainConfig], split: Path, tmp_path: Path
) -> None:
    options = {
        "data": (split,),
        "epochs": 1,
        "image_size": 32,
        "embedding_dim": 16,
        "batch_size": 16,
        "precision": "32",
    }
    wide = {"backbone": "mobilefacenet", "backbone_args": ("width=128", "activation=relu6"), "pool": "mean"}
    first = run(config(out=tmp_path / "first", **options, **wide), Heard())
    architecture = load_network(first.encoder)[0].architecture
    assert architecture.backbone_args == (("activation", "relu6"), ("width", 128))
    # A run that starts from it, and a resumed run, use its arguments.
    second = {**options, "epochs": 2, "init": str(first.run)}
    run(config(out=tmp_path / "second", **{**second, "epochs": 1}), Heard())
    resumed = run(config(out=tmp_path / "second", resume="yes", **second), Heard())
    assert load_network(resumed.encoder)[0].architecture == architecture


def test_a_run_of_the_last_release_is_resumed(split: Path, tmp_path: Path) -> None:
    first = pretrain(split, tmp_path / "run", epochs=1)
    path = first.run / "config.json"
    content = json.loads(path.read_text())
    assert content["config"].pop("backbone_args") == []
    path.write_text(json.dumps(content))
    assert pretrain(split, tmp_path / "run", epochs=2, resume="yes").epochs == 2


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"gpus": 64, "batch_size": 64}, ConfigError, "--gpus 64"),
        ({"backbone": "resnet19"}, ConfigError, "resnet18"),
        ({"backbone_args": ("patch_sise=2",)}, ConfigError, "patch_sise: test_convnext does not .*, patch_size,"),
        ({"backbone": "inception_resnet_v1"}, ConfigError, "at least 75 pixels"),
        ({"init": "no-such-run"}, ModelError, "no-such-run"),
        ({"val": (Path("no-such-val"),)}, DataError, "no-such-val"),
        ({"data": Path("no-such-faces")}, DataError, "no-such-faces"),
        ({"resume": "yes"}, ModelError, "no run to resume"),
    ],
)
def test_invalid_options_leave_nothing_behind(
    options: dict[str, object], error: type[Exception], text: str, split: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        pretrain(**{"data": split, "out": tmp_path / "run", "epochs": 1, **options})
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_is_refused(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match="--device cuda"):
        pretrain(split, tmp_path / "run", device="cuda")


def test_labels_are_required_by_trainers_that_use_them(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 1, 16)
    (faces / "person_000").rename(faces / "_")
    for config in (
        TripletConfig(data=(faces,), out=tmp_path / "run", **SMALL),
        CenterConfig(data=(faces,), out=tmp_path / "run", **SMALL),
    ):
        with pytest.raises(DataError, match="none of the faces has a name"):
            run(config, Heard())
    assert pretrain(faces, tmp_path / "run", epochs=1).epochs == 1


def test_a_damaged_picture_leaves_nothing_behind(tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "faces", 2, 4)
    (faces / "person_001" / "2.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.png"):
        pretrain(faces, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_files_is_not_written_into(split: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="--resume"):
        pretrain(split, tmp_path / "run")


def test_one_folder_takes_one_run_at_a_time(split: Path, tmp_path: Path) -> None:
    with exclusive(tmp_path / "run"), pytest.raises(LockedError):
        pretrain(split, tmp_path / "run")


def test_runs_are_numbered(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = PretrainConfig(data=(split,), epochs=0, **SMALL)
    assert [str(run(config, Heard()).run) for _ in range(2)] == ["runs/pretrain-1", "runs/pretrain-2"]


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim_run_folder, ["train-center"] * 24))
    assert sorted(map(str, claimed)) == sorted(f"runs/train-center-{number}" for number in range(1, 25))
    assert all(folder.is_dir() for folder in claimed)


_BAD_FOLDERS = [
    ("PretrainConfig(data=(Path('no-such-faces'),))", "DataError"),
    ("TripletConfig()", "ConfigError"),
    ("CenterConfig(data=(Path('other/faces'),), val=(Path('no-such-val'),))", "DataError"),
    ("CenterConfig(data=(Path('other/faces'),), lfw=Path('other/faces/person_000'), pairs=Path('p'))", "DataError"),
    ("PretrainConfig(data=(Path('other/faces'),), out=Path('other/faces'))", "ConfigError"),
    ("PretrainConfig(data=(Path('other/faces'),), init='no-such-run')", "ModelError"),
    ("DistillConfig(data=(Path('no-such-faces'),))", "DataError"),
]
_WITHOUT_TORCH = """
import sys
from pathlib import Path
from faceclr_cli.core import CenterConfig, DistillConfig, PretrainConfig, TripletConfig, errors
from faceclr_cli.core.events import Silent
from faceclr_cli.core.training.trainers import train
for text in sys.argv[1:]:
    try:
        train(eval(text), Silent())
    except errors.FaceclrError as error:
        print(type(error).__name__, "torch" in sys.modules)
"""


def test_bad_folders_are_reported_before_torch_is_imported(tmp_path: Path) -> None:
    make_faces(tmp_path / "other" / "faces", 2, 2)
    command = [sys.executable, "-c", _WITHOUT_TORCH, *(text for text, _ in _BAD_FOLDERS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{error} False" for _, error in _BAD_FOLDERS], done.stdout


def test_faces_are_listed_and_decoded_once(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("open_face_set", "open_pixels"):
        original = getattr(sets_module, name)
        monkeypatch.setattr(
            sets_module, name, lambda *given, name=name, original=original: [calls.append(name), original(*given)][1]
        )
    pretrain(split, tmp_path / "run", epochs=1)
    assert sorted(calls) == [
        "open_face_set",
        "open_face_set",
        "open_pixels",
        "open_pixels",
    ]  # Once each for train and val.


def test_without_faces_it_says_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_split(tmp_path / "celeba-splits", 2, 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="faceclr pretrain celeba-splits/train"):
        run(PretrainConfig(), Heard())


def test_a_loss_that_is_not_finite_ends_the_run(split: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"step \d+: .*not-finite.txt.*\n.*last good checkpoint"):
        pretrain(split, tmp_path / "run", epochs=4, lr=1e30, warmup=0.0)
    names = (tmp_path / "run" / "not-finite.txt").read_text().splitlines()
    assert len(names) == 16
    assert all((split / name).exists() for name in names)


@pytest.mark.parametrize("lr", [1e30, 1e39], ids=["weights overflow in use", "weights are infinite"])
@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("command", [PretrainConfig, TripletConfig, CenterConfig])
def test_a_last_step_that_diverges_ends_the_run_without_an_encoder(
    command: type[PretrainConfig] | type[TripletConfig] | type[CenterConfig], watched: bool, lr: float, tmp_path: Path
) -> None:
    # A single batch: its loss is finite, and no other batch follows that could show the effect of its update.
    data = (make_split if watched else make_faces)(tmp_path / "split", people=4, pictures=4)
    config = command(data=(data,), out=tmp_path / "run", epochs=1, lr=lr, warmup=0.0, **SMALL)
    with pytest.raises(ModelError, match="diverged"):
        run(config, Heard())
    assert not (tmp_path / "run" / "encoder").exists()
    assert list((tmp_path / "run").glob("checkpoints/*")) == []


def test_an_epoch_that_is_not_finite_is_never_the_best() -> None:
    table = [{"epoch": 1, "val_loss": math.nan}, {"epoch": 2, "val_loss": 0.5}, {"epoch": 3, "val_loss": math.nan}]
    assert best_epoch(table, TripletConfig()) == 2


def test_validation_on_training_people_is_reported(tmp_path: Path) -> None:
    train = make_split(tmp_path / "split", 3, 4)
    shutil.copytree(train / "person_001", train.parent / "val" / "person_001")
    heard = Heard()
    pretrain(train, tmp_path / "run", heard, epochs=0)
    assert any(notice.level == "warning" and "person_001" in notice.text for notice in heard.of(Notice))


@pytest.mark.parametrize(
    ("people", "pictures", "said"),
    [(3, 1, "0 people have two or more"), (1, 4, "1 person has two or more"), (4, 2, "4 people have two or more")],
)
def test_too_few_validation_people_determine_no_best_epoch(
    people: int, pictures: int, said: str, tmp_path: Path
) -> None:
    train = make_split(tmp_path / "split", 3, 4)
    shutil.rmtree(train.parent / "val")
    make_faces(train.parent / "val", people, pictures, first=50)
    heard = Heard()
    result = pretrain(train, tmp_path / "run", heard, epochs=1)
    assert result.best_epoch is None
    assert "val_rank" in result.metrics and "val_knn" not in result.metrics
    assert any(said in notice.text and "at least 5" in notice.text for notice in heard.of(Notice))
    assert load_encoder_folder(result.run).calibration is None


def test_validation_faces_with_another_fingerprint_are_rejected(tmp_path: Path) -> None:
    train = make_split(tmp_path / "split", 3, 4)
    describe_faces(train.parent / "val", template="another")
    with pytest.raises(FingerprintError, match="template"):
        pretrain(train, tmp_path / "run")
