"""Thresholds measured on drawn people by a toy encoder."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.embeddings.store import Store, read_store, write_store
from faceclr_cli.core.errors import ConfigError, DataError, ModelError
from faceclr_cli.core.evaluation.calibration.calibrate import calibrate as run
from faceclr_cli.core.events import Event, Notice
from faceclr_cli.core.metrics.probability import fit_logistic
from faceclr_cli.core.metrics.roc import tar_at_far
from tests.core.evaluation.calibration.calibrating import (
    EACH,
    GENUINE,
    IMPOSTOR,
    PEOPLE,
    calibrate,
    listed,
    make_desk,
    numbers,
    photographs,
)


class Listener:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def report(self, event: Event) -> None:
        if isinstance(event, Notice):
            self.texts.append(event.text)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def toy(desk: Path, tmp_path: Path) -> Path:
    """A copy of the encoder, without a threshold."""
    shutil.copytree(desk / "toy", tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture(scope="module")
def store(desk: Path) -> Store:
    return read_store(desk / "faces.h5")


def test_photographs_prepared_faces_and_a_store_give_the_same(desk: Path, store: Store, tmp_path: Path) -> None:
    sources = [{"root": desk / "people"}, {"root": desk / "faces"}, {"embeddings": desk / "faces.h5"}]
    first, *others = [calibrate(desk / "toy", out=tmp_path / "any.json", **source) for source in sources]
    for other in others:
        assert numbers(other) == pytest.approx(numbers(first), abs=1e-5, rel=1e-3)
    scores = np.clip(store.embeddings @ store.embeddings.T, -1, 1)
    above = np.triu_indices(len(store), 1)
    people = np.array(store.identities)
    same = people[above[0]] == people[above[1]]
    (point,) = first.calibration.points
    expected = tar_at_far(scores[above], same, 0.01)
    assert (point.far, point.tar) == (0.01, pytest.approx(expected.tar))
    assert point.threshold == pytest.approx(expected.threshold, abs=1e-5)
    assert first.calibration.probability is not None
    curve = fit_logistic(scores[above], same)
    assert first.calibration.probability([0.2, 0.9, 0.99]) == pytest.approx(curve([0.2, 0.9, 0.99]), abs=0.01)
    assert (first.faces, first.people, first.genuine, first.impostor) == (36, PEOPLE, GENUINE, IMPOSTOR)
    assert first.failures == ()
    assert first.calibration.source == "all 54 pairs of one and 576 of two people among 36 faces, people"


def test_listed_pairs_alone_are_measured(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    pairs, places, same = listed(tmp_path / "pairs.csv", store.paths, apart=320)
    result = calibrate(toy, embeddings=desk / "faces.h5", pairs=pairs, all_pairs=False)
    scores = np.sum(store.embeddings[places[:, 0]] * store.embeddings[places[:, 1]], axis=1)
    expected = tar_at_far(scores, same, 0.01)
    (point,) = result.calibration.points
    assert (point.threshold, point.tar) == (pytest.approx(expected.threshold, abs=1e-6), expected.tar)
    assert (point.low, point.high) == (None, None)
    assert (result.genuine, result.impostor) == (GENUINE, 320)
    (lax,) = calibrate(toy, embeddings=desk / "faces.h5", pairs=pairs, all_pairs=False, far=(0.2,)).calibration.points
    assert lax.low is not None and lax.high is not None and lax.low <= lax.threshold <= lax.high
    assert result.calibration.source == f"54 pairs of one and 320 of two people, {tmp_path.name}/pairs.csv"
    from_faces = calibrate(toy, root=desk / "faces", pairs=pairs, all_pairs=False)
    assert numbers(from_faces) == pytest.approx(numbers(result), abs=1e-5, rel=1e-3)


def test_both_are_all_pairs_of_the_pictures_that_are_listed(
    desk: Path, store: Store, toy: Path, tmp_path: Path
) -> None:
    some = store.take(range(7 * EACH))
    pairs, *_ = listed(tmp_path / "pairs.csv", some.paths, apart=100)
    result = calibrate(toy, root=desk / "faces", pairs=pairs)
    assert (result.faces, result.people, result.genuine, result.impostor) == (28, 7, 42, 336)
    write_store(tmp_path / "some.h5", some)
    assert numbers(result) == pytest.approx(
        numbers(calibrate(toy, embeddings=tmp_path / "some.h5")), abs=1e-5, rel=1e-3
    )
    assert numbers(result) == pytest.approx(
        numbers(calibrate(toy, embeddings=desk / "faces.h5", pairs=pairs)), abs=1e-5, rel=1e-3
    )


def test_listed_pictures_need_no_folders_of_people(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    pairs, *_ = listed(tmp_path / "pairs.csv", store.paths)
    expected = calibrate(toy, root=desk / "faces", pairs=pairs, all_pairs=False)
    for name in photographs(store):
        os.link(desk / "people" / name, flat / name.replace("/", "-"))
    pairs.write_text(pairs.read_text().replace("/", "-").replace(".png", ".jpg"))
    result = calibrate(toy, root=flat, pairs=pairs, all_pairs=False)
    ours, theirs = result.calibration.points[0], expected.calibration.points[0]
    assert (ours.threshold, ours.tar) == (pytest.approx(theirs.threshold, abs=1e-5), theirs.tar)
    assert (result.people, expected.people) == (0, PEOPLE)
    with pytest.raises(DataError, match="no face has a name"):
        calibrate(toy, root=flat, pairs=pairs)


def test_people_are_restricted_to_the_labels(store: Store, desk: Path, toy: Path, tmp_path: Path) -> None:
    """As in CFP, where the innermost folders are poses."""
    posed = tuple(name.replace("/", "/frontal/") for name in photographs(store))
    for name, path in zip(photographs(store), posed, strict=True):
        target = tmp_path / "posed" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(desk / "people" / name, target)
    pairs, *_ = listed(tmp_path / "pairs.csv", posed)
    result = calibrate(toy, root=tmp_path / "posed", pairs=pairs)
    assert (result.people, result.genuine, result.impostor) == (PEOPLE, GENUINE, IMPOSTOR)


def test_of_several_rows_of_a_photograph_one_counts(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    both = store.take(np.concatenate([np.arange(len(store)), np.roll(np.arange(len(store)), 4)]))
    boxes = np.repeat(np.array([[0, 0, 80, 80], [90, 0, 30, 30]], np.float32), len(store), axis=0)
    named = {"paths": store.paths * 2, "identities": store.identities * 2}
    write_store(tmp_path / "all.h5", replace(both, boxes=boxes, **named))
    one, chosen = (calibrate(toy, embeddings=path) for path in (desk / "faces.h5", tmp_path / "all.h5"))
    assert numbers(chosen) == numbers(one)
    with pytest.raises(ConfigError, match="does not say which is in the center"):
        calibrate(toy, embeddings=tmp_path / "all.h5", face="center")


def test_faces_without_a_name_are_left_out_of_all_pairs(store: Store, toy: Path, tmp_path: Path) -> None:
    named = replace(store, identities=(None, *store.identities[1:]))
    write_store(tmp_path / "most.h5", named)
    listener = Listener()
    result = run(CalibrateConfig(model=str(toy), embeddings=tmp_path / "most.h5", all_pairs=True), listener)
    assert (result.faces, result.genuine, result.impostor) == (35, GENUINE - 3, IMPOSTOR - 32)
    assert any("1 of 36 faces have no name and are skipped" in text for text in listener.texts)


def test_pictures_without_a_face_are_named(desk: Path, toy: Path, tmp_path: Path) -> None:
    shutil.copytree(desk / "faces", tmp_path / "faces")
    (tmp_path / "faces" / "person-01" / "text.png").write_text("no picture")
    listener = Listener()
    config = CalibrateConfig(model=str(toy), root=tmp_path / "faces", all_pairs=True)
    result = run(config, listener)
    assert (result.faces, len(result.failures)) == (36, 1)
    assert "text.png" in result.failures[0]
    assert any("1 of 37 pictures produced no face" in text for text in listener.texts)
    (tmp_path / "pairs.csv").write_text("person-01/text.png,person-01/gone.png,1\n")
    with pytest.raises(DataError, match=r"pairs\.csv: .*gone\.png: no such file"):
        calibrate(toy, root=tmp_path / "faces", pairs=tmp_path / "pairs.csv")


def test_rates_with_too_few_pairs_are_reported(desk: Path, toy: Path) -> None:
    listener = Listener()
    result = run(CalibrateConfig(model=str(toy), embeddings=desk / "faces.h5", all_pairs=True), listener)
    assert [point.far for point in result.calibration.points] == [0.01]
    assert listener.texts == [
        "FAR 0.001 needs 3,000 pairs of people, there are 36; not measured",
        "FAR 0.0001 needs 30,000 pairs of people, there are 36; not measured",
        "FAR 1e-05 needs 300,000 pairs of people, there are 36; not measured",
        "FAR 0.01 needs 300 pairs of people, there are 36: with other people the rate may be several times as high, "
        "and no interval is given; add people, not pictures",
    ]
    assert [(point.low, point.high) for point in result.calibration.points] == [(None, None)]
    # Enough people have an interval, and no warning.
    listener.texts.clear()
    config = CalibrateConfig(model=str(toy), embeddings=desk / "faces.h5", all_pairs=True, far=(0.1,), rounds=100)
    (point,) = run(config, listener).calibration.points
    assert point.low is not None and point.high is not None and point.low <= point.threshold <= point.high
    assert listener.texts == []


def test_too_few_pairs_are_an_error_that_says_how_many_it_takes(
    desk: Path, store: Store, toy: Path, tmp_path: Path
) -> None:
    description = (toy / "encoder" / "encoder.json").read_bytes()
    write_store(tmp_path / "few.h5", store.take(range(12)))
    with pytest.raises(DataError, match=r"few\.h5: a FAR of 0\.01 needs 300 impostor pairs, but there are 48"):
        calibrate(toy, embeddings=tmp_path / "few.h5")
    with pytest.raises(DataError, match=r"faces\.h5: a FAR of 0\.001 needs 3,000 impostor pairs, but there are 576"):
        calibrate(toy, embeddings=desk / "faces.h5", far=(0.1, 0.001))
    pairs, *_ = listed(tmp_path / "pairs.csv", store.paths, apart=200)
    for far, needed in ((), "0.01 needs 300"), ((0.001,), "0.001 needs 3,000"):
        with pytest.raises(DataError, match=f"a FAR of {needed} impostor pairs, but there are 200"):
            calibrate(toy, embeddings=desk / "faces.h5", pairs=pairs, all_pairs=False, far=far)
    with pytest.raises(DataError, match="genuine"):
        write_store(tmp_path / "alone.h5", replace(store, identities=store.paths))
        calibrate(toy, embeddings=tmp_path / "alone.h5")
    assert (toy / "encoder" / "encoder.json").read_bytes() == description


def test_pairs_that_don_t_fit_the_faces_are_refused(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    pairs, *_ = listed(tmp_path / "pairs.csv", tuple(f"else/{name}" for name in store.paths))
    with pytest.raises(DataError, match=r"faces\.h5: contains none of the faces"):
        calibrate(toy, embeddings=desk / "faces.h5", pairs=pairs, all_pairs=False)
    pairs.write_text("person-01/01.png,../01.png,1\n")
    with pytest.raises(DataError, match=r"\.\./01\.png is outside the folder of faces"):
        calibrate(toy, root=desk / "faces", pairs=pairs)
    pairs.write_text("person-01/01.png,person-01/02.png\n")
    with pytest.raises(DataError, match="a pair has no label; every pair needs"):
        calibrate(toy, root=desk / "faces", pairs=pairs, all_pairs=False)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        calibrate(toy, root=tmp_path / "nowhere", pairs=pairs)


def test_a_store_of_another_encoder_or_of_means_is_refused(desk: Path, store: Store, toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"was made by toy, not by --model sface") as caught:
        calibrate("sface", embeddings=desk / "faces.h5", out=tmp_path / "any.json")
    assert caught.value.exit_code == 4
    write_store(tmp_path / "means.h5", replace(store, flip="mean"))
    with pytest.raises(DataError, match="without --flip"):
        calibrate(toy, embeddings=tmp_path / "means.h5")


def test_the_seed_fixes_the_intervals(desk: Path, tmp_path: Path) -> None:
    def ends(seed: int) -> list[float | None]:
        options = {"embeddings": desk / "faces.h5", "out": tmp_path / "any.json", "seed": seed, "far": (0.1,)}
        return [end for p in calibrate(desk / "toy", **options).calibration.points for end in (p.low, p.high)]

    assert ends(1) == ends(1)
    assert ends(1) != ends(2)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "--root"),
        ({"root": Path("a"), "embeddings": Path("b.h5"), "all_pairs": True}, "either --root"),
        ({"root": Path("a")}, "--pairs FILE"),
        ({"root": Path("a"), "pairs": Path("-")}, "give a file"),
        ({"root": Path("a"), "all_pairs": True, "far": (0.0,)}, "between 0 and 1"),
        ({"root": Path("a"), "all_pairs": True, "far": (float("nan"),)}, "finite number"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CalibrateConfig(**options)  # type: ignore[arg-type]
