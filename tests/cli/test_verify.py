"""`faceclr verify` as a shell sees it: what it prints, where, and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import skimage.data
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint, write_calibration
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.metrics.probability import Logistic


def faceclr(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceclr_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, the second twice, and files of all kinds without a face."""
    folder = tmp_path_factory.mktemp("photos")
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    (folder / "hopper.jpg").write_bytes(Path(hopper).read_bytes())
    astronaut = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(folder / "astronaut.jpg"), astronaut)
    darker = cv2.convertScaleAbs(cv2.flip(astronaut, 1), alpha=0.6)
    cv2.imwrite(str(folder / "astronaut again.jpg"), darker)
    cv2.imwrite(str(folder / "nobody.jpg"), cv2.cvtColor(skimage.data.coffee(), cv2.COLOR_RGB2BGR))
    whole = (folder / "astronaut.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture\n" * 100)
    hopper_again = cv2.imread(str(folder / "hopper.jpg"))
    sides = [cv2.resize(image, (320, 400)) for image in (astronaut[:320, 96:352], hopper_again)]
    cv2.imwrite(str(folder / "two.jpg"), np.hstack(sides))
    cv2.imwrite(str(folder / "small.png"), cv2.resize(astronaut, (160, 160), interpolation=cv2.INTER_AREA))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(astronaut, (0, 0), 2.5))
    return folder


def typed(*arguments: object, given: str | None = None) -> Result:
    """Runs a command line like `faceclr`, in this process."""
    return CliRunner().invoke(app, ["verify", *map(str, arguments)], input=given)


def rows(done: Result) -> dict[str, str]:
    """The names and values that are printed one below the other."""
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {line[0]: line[1] for line in lines if len(line) == 2}


def test_the_same_person_is_exit_0_with_a_table(photos: Path) -> None:
    done = faceclr("verify", photos / "astronaut.jpg", photos / "astronaut again.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("similarity", "threshold", "accepts 1 in", "same person"):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 200


def test_different_people_are_exit_1_also_when_quiet(photos: Path) -> None:
    done = faceclr("verify", photos / "astronaut.jpg", photos / "hopper.jpg")
    assert done.returncode == 1
    assert "different people" in done.stdout
    quiet = faceclr("verify", photos / "astronaut.jpg", photos / "hopper.jpg", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (1, "", "")


def test_json_has_the_verdict_and_what_it_rests_on(photos: Path) -> None:
    done = faceclr("verify", photos / "astronaut.jpg", photos / "hopper.jpg", "--json")
    verdict = json.loads(done.stdout)
    assert done.returncode == 1
    assert verdict["same"] is False
    assert verdict["similarity"] < verdict["threshold"]
    assert verdict["far"] == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nobody.jpg", "no face"),
        ("truncated.jpg", "truncated"),
        ("empty.jpg", "empty"),
        ("text.jpg", "not a picture"),
        ("missing.jpg", "no such file"),
    ],
)
def test_a_photograph_that_will_not_do_is_exit_3_with_one_line(photos: Path, name: str, complaint: str) -> None:
    done = typed(photos / "astronaut.jpg", photos / name)
    assert done.exit_code == 3
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
    assert complaint in done.stderr


def test_usage_is_exit_2_and_a_missing_model_exit_4(photos: Path) -> None:
    pair = (photos / "astronaut.jpg", photos / "hopper.jpg")
    assert faceclr("verify", *pair, "--nonsense").returncode == 2
    assert faceclr("verify", pair[0]).returncode == 2
    assert faceclr("verify", *pair, "--threshold", "7").returncode == 2
    assert faceclr("nonsense").returncode == 2
    missing = typed(*pair, "--model", "no-such-model")
    assert missing.exit_code == 4
    assert "no-such-model" in missing.stderr


def test_usage_errors_are_two_lines(photos: Path) -> None:
    done = faceclr("verify", "a.jpg", "b.jpg", "--nonsense")
    assert done.stderr.splitlines()[0].startswith("error: No such option: --nonsense")
    assert done.stderr.splitlines()[1] == "Try: faceclr verify --help"


def test_a_model_without_a_threshold_asks_for_one(photos: Path) -> None:
    done = typed(photos / "astronaut.jpg", photos / "hopper.jpg", "--model", "pixels")
    assert done.exit_code == 2
    assert "--threshold" in done.stderr


@pytest.mark.real
def test_real_people_years_apart(real_data: Path) -> None:
    photos = real_data / "photos"
    for person in ("person_a", "person_b"):
        assert typed(photos / f"{person}_1.jpg", photos / f"{person}_2.jpg").exit_code == 0
        for other in ("impostor_1", "impostor_2"):
            assert typed(photos / f"{person}_1.jpg", photos / f"{other}.jpg").exit_code == 1
    assert typed(photos / "person_a_1.jpg", photos / "person_b_1.jpg").exit_code == 1


def test_a_photograph_within_a_transparent_png_does(photos: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(photos / "astronaut.jpg"))
    opaque = np.full(picture.shape[:2], 255, np.uint8)
    cv2.imwrite(str(tmp_path / "astronaut.png"), np.dstack([picture, opaque]))
    assert typed(photos / "astronaut.jpg", tmp_path / "astronaut.png").exit_code == 0


@pytest.fixture(scope="module")
def pair(photos: Path) -> tuple[Path, Path]:
    """Two people."""
    return photos / "astronaut.jpg", photos / "hopper.jpg"


def test_a_measured_false_accept_rate_chooses_its_threshold(pair: tuple[Path, Path]) -> None:
    rates = [point.far for point in SFaceEncoder().calibration.points]
    chosen = {rate: json.loads(typed(*pair, "--far", rate, "--json").stdout) for rate in rates}
    assert all(verdict["far"] == rate for rate, verdict in chosen.items())
    assert [chosen[rate]["threshold"] for rate in sorted(rates)] == sorted(
        (verdict["threshold"] for verdict in chosen.values()), reverse=True
    )
    shown = typed(*pair, "--far", "0.001")
    assert (shown.exit_code, shown.stderr) == (1, "")
    assert "(sface), accepts 1 in 1,000 pairs of different people, " in rows(shown)["threshold"]


def test_another_false_accept_rate_is_exit_2_and_names_the_measured_ones(pair: tuple[Path, Path]) -> None:
    done = typed(*pair, "--far", "0.0123")
    assert (done.exit_code, done.stdout) == (2, "")
    for point in SFaceEncoder().calibration.points:
        assert f"{point.far:g}" in done.stderr
    assert "run faceclr calibrate --far 0.0123" in done.stderr
    assert typed(*pair, "--far", "0").exit_code == 2
    assert typed(*pair, "--far", "1.5").exit_code == 2
    assert typed(*pair, "--far", "0.001", "--threshold", "0.3").exit_code == 2


def test_the_users_threshold_decides_and_says_so(pair: tuple[Path, Path]) -> None:
    done = typed(*pair, "--threshold", "-1")
    assert done.exit_code == 0
    assert rows(done)["threshold"].startswith("-1.000 (sface), ")
    assert rows(done)["threshold"].endswith(", chosen by --threshold")
    assert rows(done)["verdict"] == "same person"


def calibrated(path: Path, encoder: Encoder, probability: Logistic | None) -> Path:
    points = (FarPoint(far=0.1, threshold=-0.5, tar=0.99), FarPoint(far=0.001, threshold=0.9, tar=0.5))
    calibration = Calibration(points=points, probability=probability, source="our own pairs")
    write_calibration(path, calibration, encoder, {})
    return path


def test_thresholds_may_come_from_a_file(pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = calibrated(tmp_path / "own.json", SFaceEncoder(), None)
    strict, lax = typed(*pair, "--calibration", path), typed(*pair, "--calibration", path, "--far", "0.1")
    assert (strict.exit_code, lax.exit_code) == (1, 0)
    assert rows(strict)["threshold"].startswith("0.900 (sface), accepts 1 in 1,000 ")
    meaning = "accepts 1 in 10 pairs of different people, 99.0% of pairs of the same"
    assert rows(lax)["threshold"] == f"-0.500 (sface), {meaning}"
    assert rows(lax)["probability"] == "not calibrated for sface; run faceclr calibrate"
    assert rows(strict)["probability"] == rows(lax)["probability"]
    unknown = typed(*pair, "--calibration", path, "--far", "0.01")
    assert unknown.exit_code == 2
    assert "only for 0.1, 0.001" in unknown.stderr


def test_thresholds_of_another_encoder_are_exit_4_and_files_without_any_exit_3(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    path = calibrated(tmp_path / "pixels.json", PixelsEncoder(), None)
    done = typed(*pair, "--calibration", path)
    assert (done.exit_code, done.stdout) == (4, "")
    assert "is the calibration of the encoder pixels, not of sface" in done.stderr
    assert typed(*pair, "--calibration", path, "--model", "pixels").exit_code in (0, 1)
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "gone.json"):
        done = typed(*pair, "--calibration", tmp_path / name)
        assert done.exit_code == 3
        assert name in done.stderr


@pytest.mark.parametrize(("offset", "shown"), [(60.0, ">99.9%"), (-60.0, "<0.1%"), (0.0, "50.0%")])
def test_no_probability_is_a_certainty(offset: float, shown: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    path = calibrated(tmp_path / "own.json", SFaceEncoder(), Logistic(slope=0.0, offset=offset))
    done = typed(*pair, "--calibration", path)
    assert rows(done)["probability"] == f"{shown} that it is the same person, given even prior odds"
    assert "100" not in done.stdout.replace("1,000", "")


@pytest.mark.parametrize("choice", ["largest", "center", "best"])
def test_of_two_people_one_is_compared_and_that_is_said(choice: str, photos: Path) -> None:
    done = typed(photos / "two.jpg", photos / "astronaut.jpg", "--face", choice)
    assert done.exit_code in (0, 1)
    taken = {"largest": "largest", "center": "most central", "best": "most confident detection"}[choice]
    assert f"two.jpg: 2 faces found, the {taken} is compared" in done.stderr


def test_two_people_where_one_is_expected_are_exit_3(photos: Path) -> None:
    done = typed(photos / "astronaut.jpg", photos / "two.jpg", "--face", "only")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "two.jpg: 2 faces found, and only one is allowed" in done.stderr
    assert typed(photos / "astronaut.jpg", photos / "astronaut again.jpg", "--face", "only").exit_code == 0


def test_crops_are_saved_as_prepare_cuts_them(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for name in ("astronaut.jpg", "hopper.jpg"):
        (tmp_path / "in" / name).write_bytes((photos / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert typed("in/astronaut.jpg", "in/hopper.jpg", "--save-crops", "crops").exit_code == 1
    prepared = CliRunner().invoke(app, ["prepare", "in", "-o", "faces", "--format", "png", "--quiet"])
    assert prepared.exit_code == 0
    for name in ("astronaut", "hopper"):
        crop = cv2.imread(f"crops/in/{name}.jpg.png")
        [face] = Path("faces").rglob(f"{name}*.png")
        assert crop.shape == (112, 112, 3)
        assert np.array_equal(crop, cv2.imread(str(face)))


def test_json_has_these_fields(photos: Path, pair: tuple[Path, Path]) -> None:
    verdict = json.loads(typed(*pair, "--json").stdout)
    assert list(verdict) == [
        "a", "b", "encoder", "similarity", "threshold", "far", "meaning", "source", "same", "probability", "notes"
    ]  # fmt: skip
    assert (verdict["a"], verdict["b"], verdict["encoder"], verdict["notes"]) == (*map(str, pair), "sface", [])
    assert 0 <= verdict["probability"] < 0.01
    done = typed("--pairs", "-", "--root", photos, "--json", "--quiet", given="astronaut.jpg,small.png\n")
    [row] = map(json.loads, done.stdout.splitlines())
    assert list(row) == ["a", "b", "similarity", "same", "probability", "reason", "notes"]
    assert row["notes"][0].startswith("small.png: small: ")
    assert row["same"] is True


@pytest.mark.parametrize(("name", "doubt"), [("small.png", "small: "), ("blurred.png", "blurred (sharpness ")])
def test_a_photograph_that_calls_for_care_is_noted_beside_the_verdict(name: str, doubt: str, photos: Path) -> None:
    done = typed(photos / "astronaut.jpg", photos / name)
    assert done.exit_code == 0
    assert f"{photos / name}: {doubt}" in rows(done)["warnings"]
    assert "astronaut.jpg" not in rows(done)["warnings"]
    same = rows(typed(photos / "astronaut.jpg", photos / "astronaut.jpg"))["warnings"]
    assert "astronaut.jpg: compared with itself" in same


def test_pairs_are_rows_and_too_many_failures_exit_3(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("astronaut.jpg,hopper.jpg\nastronaut.jpg,text.jpg\n")
    line = ("--pairs", tmp_path / "pairs.csv", "--root", photos)
    done = typed(*line)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "a,b,similarity,same,reason"
    assert "2 pairs: 0 same, 1 different, 1 not compared" in done.stderr
    strict = typed(*line, "--max-bad", "0.4")
    assert (strict.exit_code, strict.stdout) == (3, done.stdout)
    assert "1 of 2 pairs could not be compared, more than --max-bad 0.4" in strict.stderr
    quiet = typed(*line, "--quiet")
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_measurement_of_too_many_failures_is_shown_and_exit_3(photos: Path, tmp_path: Path) -> None:
    genuine, impostor = "astronaut.jpg,astronaut.jpg,1", "astronaut.jpg,hopper.jpg,0"
    failing = "astronaut.jpg,text.jpg,0"
    (tmp_path / "pairs.csv").write_text("\n".join([genuine, impostor, failing] * 2))
    line = ("--protocol", "lfw", "--pairs", tmp_path / "pairs.csv", "--root", photos, "--folds", "2")
    assert typed(*line).exit_code == 0
    strict = typed(*line, "--max-bad", "0.3")
    assert (strict.exit_code, rows(strict)["pairs"]) == (3, "2 genuine, 4 impostor, 2 not compared")
    assert "2 of 6 pairs could not be compared, more than --max-bad 0.3" in strict.stderr


def test_a_store_has_its_encoder(tmp_path: Path) -> None:
    done = typed("--embeddings", tmp_path / "faces.h5", "--all-pairs", "--model", "run")
    assert (done.exit_code, "--model: cannot be combined with --embeddings" in done.stderr) == (2, True)


def test_a_measurement_says_what_it_wrote_and_what_it_is_over(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("".join(f"0.{score},{int(score > 4)}\n" for score in range(10)) * 2)
    line = ("--protocol", "scores", "--pairs", tmp_path / "scores.csv", "--folds", "5")
    outputs = ("--results", tmp_path / "each.jsonl", "--plot", tmp_path / "roc.svg")
    done = typed(*line, *outputs)
    assert done.exit_code == 0, done.output
    assert rows(done)["accuracy"] == "100.0% ± 0.0% over 5 folds"
    assert (rows(done)["results"], rows(done)["plot"]) == (str(tmp_path / "each.jsonl"), str(tmp_path / "roc.svg"))
    assert len((tmp_path / "each.jsonl").read_text().splitlines()) == 20
    assert (tmp_path / "roc.svg").stat().st_size > 1000
    result = json.loads(typed(*line, "--json").stdout)
    assert {"accuracy", "standard_error", "auc", "eer", "tar_at_far", "best_threshold", "audit"} <= set(result)
    assert (result["folds"], result["found"]) == (5, 20)
    assert typed(*line[:-1], "11").exit_code == 3
    assert typed(*line, "--plot", tmp_path / "roc.gif").exit_code == 2
    assert typed(*line, "--far", "0.01").exit_code == 2


def test_a_threshold_that_accepts_many_impostors_gives_no_verdict(pair: tuple[Path, Path], tmp_path: Path) -> None:
    point = FarPoint(far=0.47, threshold=-0.5, tar=0.6)
    write_calibration(
        tmp_path / "weak.json", Calibration(points=(point,), probability=None, source="watched"), SFaceEncoder(), {}
    )
    done = typed(*pair, "--calibration", tmp_path / "weak.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "too weak for verdicts: its threshold -0.500 accepts 1 in 2 pairs of different people" in done.stderr
    assert "FAR 47.0%" in done.stderr and "faceclr calibrate" in done.stderr
    # Asked for that rate, it gives one.
    assert typed(*pair, "--calibration", tmp_path / "weak.json", "--far", "0.47").exit_code == 0
