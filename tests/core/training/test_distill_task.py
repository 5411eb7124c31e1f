"""Distillation: the student learns to embed as its teacher does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.encoders.description import read_description
from faceclr_cli.core.encoders.encoder_folder import load_encoder_folder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.network import normalize_pixels
from faceclr_cli.core.errors import ModelError, TerminatedRunError
from faceclr_cli.core.events import EpochFinished, Event, Notice, Silent
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.metrics.recognition import measure_recognition
from faceclr_cli.core.training import teacher as teacher_module
from faceclr_cli.core.training.trainers import TrainResult, train
from tests.core.training.test_resume import Stopper
from tests.core.training.toy import Heard, make_faces, make_split, pretrain, weights

OPTIONS: dict[str, Any] = {
    "backbone": "test_resnet", "image_size": 32, "batch_size": 16, "epochs": 3, "lr": 0.003, "precision": "32",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECLR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split(tmp_path_factory.mktemp("split"))


@pytest.fixture(scope="module")
def teacher(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(split, tmp_path_factory.mktemp("teacher") / "run", epochs=2, embedding_dim=24).run


def distill(split: Path, teacher: Path, out: Path, reporter: Heard | None = None, **options: Any) -> TrainResult:
    models = options.pop("models", (str(teacher),))
    config = DistillConfig(data=(split,), out=out, teacher=models, **{**OPTIONS, **options})
    return train(config, reporter or Heard())


def agreement(student: Path, teacher: Path, faces: Path) -> float:
    """The mean cosine on clean faces to the teacher's embeddings less their mean, by the encoders of `verify`."""
    folder = open_faces(faces)
    crops = np.stack([decode_picture(folder.read(place), "a face") for place in range(len(folder))])
    own, theirs = (load_encoder_folder(run).embed(crops) for run in (student, teacher))
    return float((own * normalize_rows(theirs - theirs.mean(axis=0))).sum(axis=1).mean())


@pytest.mark.parametrize("views", [False, True])
def test_a_student_comes_to_agree_with_its_teacher(views: bool, split: Path, teacher: Path, tmp_path: Path) -> None:
    heard = Heard()
    before = distill(split, teacher, tmp_path / "before", epochs=0, teacher_views=views)
    after = distill(split, teacher, tmp_path / "after", heard, epochs=8, teacher_views=views)
    assert after.command == "distill" and after.best_by == "val_loss"
    first, last = (heard.of(EpochFinished)[n].metrics for n in (0, -1))
    assert last["teacher_cosine"] > first["teacher_cosine"] + 0.1
    assert agreement(after.run, teacher, split) > agreement(before.run, teacher, split) + 0.2
    assert after.best is not None
    assert after.best["val_cosine_low"] < after.best["val_cosine"] < after.best["val_cosine_high"]


def test_a_student_that_starts_from_an_encoder_is_chosen_by_its_agreement(
    split: Path, teacher: Path, tmp_path: Path
) -> None:
    result = distill(split, teacher, tmp_path / "run", init=str(teacher), backbone="auto", image_size=40)
    assert result.before is not None and "val_knn" in result.before
    assert result.best_by == "val_loss" and result.best_epoch


def test_the_card_names_the_teacher_and_the_dimension_is_its_own(split: Path, teacher: Path, tmp_path: Path) -> None:
    result = distill(split, teacher, tmp_path / "run", epochs=1)
    description = read_description(result.run)
    assert description.architecture.embedding_dim == 24
    (named,) = description.card.teachers
    assert named.digest == load_encoder(str(teacher)).digest
    assert not any("targets" in name for name in load_encoder_folder(result.run).network.state_dict())


def test_the_result_compares_the_student_with_its_teacher(split: Path, teacher: Path, tmp_path: Path) -> None:
    result = distill(split, teacher, tmp_path / "run", epochs=1)
    network = load_encoder_folder(result.run).network
    assert result.student is not None
    assert result.student.parameters == sum(p.numel() for p in network.parameters())
    assert result.student.faces_per_second > 0 and result.student.teacher_faces_per_second > 0
    folder = open_faces(split.parent / "val")
    crops = np.stack([decode_picture(folder.read(place), "a face") for place in range(len(folder))])
    encoder = load_encoder_folder(teacher)
    means = normalize_rows(encoder.embed(crops) + encoder.embed(np.ascontiguousarray(crops[:, :, ::-1])))
    people = [Path(path).parent.name for path in folder.paths]
    found = measure_recognition(means, np.unique(people, return_inverse=True)[1], (1e-2,))
    assert result.metrics["teacher_knn"] == pytest.approx(found.knn)
    assert result.metrics["teacher_threshold"] == pytest.approx(found.threshold, abs=1e-4)
    assert result.metrics["teacher_accuracy"] == pytest.approx(found.accuracy)


def test_several_teachers_are_imitated_at_once(split: Path, teacher: Path, tmp_path: Path) -> None:
    other = pretrain(split, tmp_path / "other", epochs=1, embedding_dim=8, seed=3).run
    result = distill(split, teacher, tmp_path / "run", models=(str(teacher), str(other)), epochs=1)
    description = read_description(result.run)
    assert description.architecture.embedding_dim == 24
    assert len(description.card.teachers) == 2


def count_embedded_faces(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Returns a function that tells how many faces teachers have embedded since."""
    seen = 0
    load = teacher_module.load_encoder

    def counting(model: str) -> Any:
        encoder = load(model)
        embed = encoder.encoder.embed

        def count(crops: Any) -> Any:
            nonlocal seen
            seen += len(crops)
            return embed(crops)

        encoder.encoder.embed = count
        return encoder

    monkeypatch.setattr(teacher_module, "load_encoder", counting)
    return lambda: seen


def test_the_teacher_embeds_each_face_once_for_all_runs(
    split: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(split, teacher, tmp_path / "first", epochs=0)
    embedded = count_embedded_faces(monkeypatch)
    distill(split, teacher, tmp_path / "second", epochs=0)
    assert embedded() == 0


def test_a_run_waits_for_the_teacher_of_another_run(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = make_faces(tmp_path / "faces", 5, 8)
    embedded = count_embedded_faces(monkeypatch)
    is_locked, heard = threading.Event(), Heard()
    keep = teacher_module.embed_cached

    def slowly(shelf: Any, root: Path, listing: Any, config: Any, encoder: Any, reporter: Any) -> Any:
        """Embeds with the cache. The first call stays in it until the second run waits."""
        if not is_locked.is_set():
            reporter = Waiting()
        return keep(shelf, root, listing, config, encoder, reporter)

    class Waiting:
        def report(self, event: Event) -> None:
            is_locked.set()
            deadline = time.monotonic() + 60
            while not any("waiting for another run" in notice.text for notice in heard.of(Notice)):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    monkeypatch.setattr(teacher_module, "embed_cached", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(teacher_module.embed_with_teachers, [str(teacher)], [faces], [], Silent())
        assert is_locked.wait(60)
        second = teacher_module.embed_with_teachers([str(teacher)], [faces], [], heard)
        rows = first.result(), second
    assert embedded() == 2 * 40  # Each face and its mirror image.
    own, theirs = (run.data[0] for run in rows)
    assert own.keys() == theirs.keys() and all(np.array_equal(own[path], theirs[path]) for path in own)


def test_names_are_not_needed(teacher: Path, tmp_path: Path) -> None:
    faces = make_faces(tmp_path / "made", 8, 10)
    unnamed = tmp_path / "faces" / "_"
    unnamed.mkdir(parents=True)
    for number, path in enumerate(sorted(faces.rglob("*.png"))):
        path.rename(unnamed / f"{number}.png")
    (faces / "faceclr.json").rename(tmp_path / "faces" / "faceclr.json")
    result = distill(tmp_path / "faces", teacher, tmp_path / "run", epochs=1, hold_out=0.4)
    assert result.best is not None and "val_cosine" in result.best


def test_a_teacher_of_views_embeds_them_on_the_device_as_it_embeds_pictures(teacher: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    views = normalize_pixels(torch.from_numpy(crops), 32)
    through_pictures = teacher_module.ViewTeacher(str(teacher), torch.device("cpu"))
    on_device = teacher_module.ViewTeacher(str(teacher), torch.device("cpu"))
    on_device._network = load_encoder_folder(teacher).network
    wanted = load_encoder_folder(teacher).embed(crops)
    for each in (through_pictures, on_device):
        np.testing.assert_allclose(each.embed(views).numpy(), wanted, atol=1e-5)
    smaller = normalize_pixels(torch.from_numpy(crops), 24)
    np.testing.assert_allclose(on_device.embed(smaller), through_pictures.embed(smaller), atol=1e-5)


@pytest.mark.parametrize("views", [False, True])
def test_a_stopped_distillation_resumes_to_the_same_bytes(
    views: bool, split: Path, teacher: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 2, "teacher_views": views}
    distill(split, teacher, tmp_path / "whole", **options)
    with pytest.raises(TerminatedRunError):
        distill(split, teacher, tmp_path / "parts", Stopper(signal.SIGTERM, 3), **options)
    distill(split, teacher, tmp_path / "parts", resume="yes", **options)
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


def test_a_teacher_that_does_not_exist_is_an_error(split: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        distill(split, tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()
