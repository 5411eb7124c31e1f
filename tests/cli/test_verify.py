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


def faceclr(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faceclr_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, the second twice, and files of all sorts that show nobody."""
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
    return folder


def test_the_same_person_is_exit_0_with_a_table(photos: Path) -> None:
    done = faceclr("verify", photos / "astronaut.jpg", photos / "astronaut again.jpg")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("similarity", "threshold", "meaning", "same person"):
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
    done = faceclr("verify", photos / "astronaut.jpg", photos / name)
    assert done.returncode == 3
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
    missing = faceclr("verify", *pair, "--model", "no-such-model")
    assert missing.returncode == 4
    assert "no-such-model" in missing.stderr


def test_usage_errors_are_two_lines(photos: Path) -> None:
    done = faceclr("verify", "a.jpg", "b.jpg", "--nonsense")
    assert done.stderr.splitlines()[0].startswith("error: No such option: --nonsense")
    assert done.stderr.splitlines()[1] == "Try: faceclr verify --help"


def test_a_model_without_a_threshold_asks_for_one(photos: Path) -> None:
    done = faceclr("verify", photos / "astronaut.jpg", photos / "hopper.jpg", "--model", "pixels")
    assert done.returncode == 2
    assert "--threshold" in done.stderr


@pytest.mark.real
def test_real_people_years_apart(real_data: Path) -> None:
    photos = real_data / "photos"
    for person in ("person_a", "person_b"):
        assert faceclr("verify", photos / f"{person}_1.jpg", photos / f"{person}_2.jpg").returncode == 0
        for other in ("impostor_1", "impostor_2"):
            assert faceclr("verify", photos / f"{person}_1.jpg", photos / f"{other}.jpg").returncode == 1
    assert faceclr("verify", photos / "person_a_1.jpg", photos / "person_b_1.jpg").returncode == 1


def test_a_photograph_within_a_transparent_png_does(photos: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(photos / "astronaut.jpg"))
    opaque = np.full(picture.shape[:2], 255, np.uint8)
    cv2.imwrite(str(tmp_path / "astronaut.png"), np.dstack([picture, opaque]))
    assert faceclr("verify", photos / "astronaut.jpg", tmp_path / "astronaut.png").returncode == 0
