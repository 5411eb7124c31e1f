"""`verify --template` on a set in IJB's layout, against the protocol computed pair by pair and scikit-learn."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import Store, read_store
from faceclr_cli.core.events import Silent
from tests.core.evaluation.ijb_layout import IjbSet, write_ijb


@pytest.fixture(scope="module")
def ijb(tmp_path_factory: pytest.TempPathFactory) -> IjbSet:
    return write_ijb(tmp_path_factory.mktemp("ijb"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def measure(ijb: IjbSet, method: str, *arguments: object) -> dict:
    given = arguments or ("--pairs", ijb.pairs, "--template-list", ijb.pictures)
    done = run("--embeddings", ijb.store, "--template", method, *given, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def scores(ijb: IjbSet, method: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = list(combinations(ijb.people, 2))
    same = np.array([ijb.people[a] == ijb.people[b] for a, b in pairs])
    if method == "max":
        media = {template: ijb.media(template) for template in ijb.people}
        return np.array([max(one @ other for one in media[a] for other in media[b]) for a, b in pairs]), same
    weights = ijb.faces.norms.astype(np.float64) if method == "quality" else None
    vectors = {template: ijb.vector(template, weights) for template in ijb.people}
    return np.array([vectors[a] @ vectors[b] for a, b in pairs]), same


@pytest.mark.parametrize("method", ["mean", "quality", "max"])
def test_the_figures_are_those_of_the_protocol_pair_by_pair(ijb: IjbSet, method: str) -> None:
    values, same = scores(ijb, method)
    found = measure(ijb, method)
    assert (found["genuine"], found["impostor"], found["missing"]) == (same.sum(), (~same).sum(), 0)
    assert (found["templates"], found["pictures"], found["not_enrolled"]) == (len(ijb.people), len(ijb.rows), 0)
    assert found["auc"] == pytest.approx(roc_auc_score(same, values), abs=1e-5)
    fprs, tprs, _ = roc_curve(same, values, drop_intermediate=False)
    assert [row["far"] for row in found["tar_at_far"]] == [0.1, 0.01, 0.001]
    for row in found["tar_at_far"]:
        assert row["tar"] == pytest.approx(tprs[fprs <= row["far"]].max())
    assert found["unmeasured"] == [1e-4, 1e-5, 1e-6]


def test_pooling_media_first_and_weighting_both_matter(ijb: IjbSet) -> None:
    flat = ijb.pictures.parent / "flat.csv"
    flat.write_text("path,template\n" + "".join(f"{name},{template}\n" for name, template, _ in ijb.rows))
    figures = {method: measure(ijb, method)["auc"] for method in ("mean", "quality", "max")}
    figures["without media"] = measure(ijb, "mean", "--pairs", ijb.pairs, "--template-list", flat)["auc"]
    assert len(set(figures.values())) == 4
    assert figures["mean"] > figures["without media"], "frames of a scene are alike, and count as one medium"


def test_a_line_that_is_listed_twice_counts_once(ijb: IjbSet, tmp_path: Path) -> None:
    lines = ijb.pictures.read_text().splitlines()
    (tmp_path / "twice.txt").write_text("\n".join([*lines, *lines[::3]]))
    for method in ("mean", "quality", "max"):
        twice = measure(ijb, method, "--pairs", ijb.pairs, "--template-list", tmp_path / "twice.txt")
        assert twice == measure(ijb, method)


def test_all_pairs_with_people_are_the_listed_pairs(ijb: IjbSet) -> None:
    people = ijb.pictures.parent / "people.csv"
    people.write_text("template,person\n" + "".join(f"{t},p{who}\n" for t, who in ijb.people.items()))
    lists = ("--template-list", ijb.pictures, "--template-list", people)
    for method in ("mean", "max"):
        every, listed = measure(ijb, method, "--all-pairs", *lists), measure(ijb, method)
        assert every["auc"] == pytest.approx(listed["auc"], abs=1e-6)
        assert [row["tar"] for row in every["tar_at_far"]] == [row["tar"] for row in listed["tar_at_far"]]
    matches = ijb.pictures.parent / "ijbx_11_G1_G2_matches.csv"
    matches.write_text("".join(f"{a},{b}\n" for a, b in combinations(ijb.people, 2)))
    assert measure(ijb, "mean", "--pairs", matches, *lists)["tar_at_far"] == measure(ijb, "mean")["tar_at_far"]


def test_templates_without_pictures_count_as_rejected(ijb: IjbSet, tmp_path: Path) -> None:
    gone = 5
    lines = [line for line in ijb.pictures.read_text().splitlines() if line.split()[1] != str(gone)]
    (tmp_path / "list.txt").write_text("\n".join([*lines, f"absent.jpg {gone} 1"]))
    done = run(
        "--embeddings", ijb.store, "--template", "mean", "--pairs", ijb.pairs, "--template-list", tmp_path / "list.txt"
    )
    assert "1 of " in done.output and "not in the store (first: absent.jpg)" in done.output
    found = measure(ijb, "mean", "--pairs", ijb.pairs, "--template-list", tmp_path / "list.txt")
    values, same = scores(ijb, "mean")
    lost = np.array([gone in pair for pair in combinations(ijb.people, 2)])
    assert (found["missing"], found["not_enrolled"], found["genuine"]) == (lost.sum(), 1, same.sum())
    kept = same | ~lost
    fprs, tprs, _ = roc_curve(same[kept], np.where(lost, -2, values)[kept], drop_intermediate=False)
    assert found["tar_at_far"][1]["tar"] == pytest.approx(tprs[fprs <= 0.01].max())


def test_folders_are_templates(tmp_path: Path) -> None:
    for person in range(2):
        for year in ("2020", "2024"):
            folder = tmp_path / "people" / f"p{person}" / year
            folder.mkdir(parents=True)
            for number in range(2):
                image = draw_photo(invent_person(person), number + 2 * (year == "2024")).image
                cv2.imwrite(str(folder / f"{number}.jpg"), image[..., ::-1])
    store, pairs = tmp_path / "people.h5", tmp_path / "pairs.csv"
    embed(EmbedConfig(faces=tmp_path / "people", out=store), Silent())
    pairs.write_text("p0/2020,p0/2024,1\np0/2020,p1/2020,0\np1/2020,p1/2024,1\np1/2024,p0/2024,0\n")
    done = run("--embeddings", store, "--pairs", pairs, "--template", "mean", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["templates"], found["pictures"], found["genuine"], found["auc"]) == (4, 8, 2, 1.0)
    rows = read_store(store)
    means = {}
    for folder in ("p0/2020", "p0/2024"):
        mean = rows.embeddings[[path.startswith(folder) for path in rows.paths]].astype(float).mean(axis=0)
        means[folder] = mean / np.linalg.norm(mean)
    folders = [tmp_path / "people" / folder for folder in means]
    verdict = json.loads(run(*folders, "--template", "mean", "--json").stdout)
    assert verdict["similarity"] == pytest.approx(float(means["p0/2020"] @ means["p0/2024"]), abs=1e-4)
    assert verdict["same"] is True
    people = run(
        "--embeddings", store, "--template", "mean", "--all-pairs", "--template-list", _one_each(tmp_path, rows)
    )
    assert people.exit_code == 3
    assert "each person has one template" in people.output
    without = run(*folders)
    assert without.exit_code == 2
    assert "is a folder; to compare two folders" in without.output
    same_folder = run(folders[0], folders[0], "--template", "max", "--json")
    assert json.loads(same_folder.stdout)["notes"][0].startswith("2 pictures in both folders")


def _one_each(folder: Path, rows: Store) -> Path:
    """Writes a list in which all pictures of a person are one template."""
    file = folder / "one.csv"
    names = [f"{path},{path.split('/')[0]},{path.split('/')[0]}\n" for path in rows.paths]
    file.write_text("path,template,person\n" + "".join(names))
    return file


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--embeddings STORE --pairs PAIRS --template-list LIST", 2, "--template-list: requires --template"),
        ("--pairs PAIRS --root . --template mean", 2, "give two folders, or --embeddings"),
        ("--embeddings STORE --pairs PAIRS --template mean --plot a.png", 2, "--plot: cannot be combined"),
        ("--embeddings STORE --pairs LIST --template mean --template-list LIST", 3, ":1: expected two templates"),
        ("--embeddings STORE --pairs PAIRS --template mean --template-list PAIRS", 3, "expected"),
        ("--embeddings STORE --all-pairs --template mean --template-list LIST", 3, "no template has a person"),
        ("--embeddings STORE --pairs - --template mean --template-list LIST", 3, "read twice"),
        ("STORE --template mean", 2, "two photographs, not 1"),
        ("missing-a missing-b --template mean", 3, "missing-a: no such file or folder"),
    ],
)
def test_wrong_input_is_one_line(ijb: IjbSet, arguments: str, code: int, message: str) -> None:
    files = {"STORE": ijb.store, "PAIRS": ijb.pairs, "LIST": ijb.pictures}
    done = run(*(files.get(word, word) for word in arguments.split()))
    assert done.exit_code == code, done.output
    assert message in done.output


def test_a_folder_with_several_people_is_no_template(tmp_path: Path, ijb: IjbSet) -> None:
    from dataclasses import replace

    from faceclr_cli.core.embeddings.store import write_store

    write_store(tmp_path / "two.h5", replace(ijb.faces, identities=tuple("ab"[n % 2] for n in range(len(ijb.rows)))))
    done = run("--embeddings", tmp_path / "two.h5", "--all-pairs", "--template", "mean")
    assert done.exit_code == 3
    assert "template _ has pictures of several people, such as a and b" in done.output


def test_quality_needs_norms_or_detection_scores(tmp_path: Path, ijb: IjbSet) -> None:
    from dataclasses import replace

    from faceclr_cli.core.embeddings.store import write_store

    unknown = np.full(len(ijb.rows), np.nan, np.float32)
    write_store(tmp_path / "bare.h5", replace(ijb.faces, norms=unknown, detection_scores=unknown))
    done = run(
        *("--embeddings", tmp_path / "bare.h5", "--pairs", ijb.pairs),
        *("--template", "quality", "--template-list", ijb.pictures),
    )
    assert done.exit_code == 3
    assert "neither norms nor detection scores" in done.output


_MEMORY = """
import resource, sys
from pathlib import Path
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.events import Silent
from faceclr_cli.core.evaluation.verification.verify import verify
folder = Path(sys.argv[1])
result = verify(VerifyConfig(embeddings=folder / "ijbx.h5", template="mean", pairs=folder / sys.argv[2],
    template_list=(folder / "meta" / "ijbx_face_tid_mid.txt",)), Silent())
print(result.genuine + result.impostor, result.tar_at_far[-1].far, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.nightly
def test_memory_does_not_grow_with_millions_of_pairs(tmp_path: Path) -> None:
    ijb = write_ijb(tmp_path / "set", people=300)
    rng, peaks = np.random.default_rng(0), {}
    for name, size in (("few.txt", 200_000), ("many.txt", 2_000_000)):
        with open(tmp_path / "set" / name, "w") as file:
            for _ in range(size // 200_000):
                left, right = rng.integers(1, len(ijb.people) + 1, (2, 200_000))
                same = (left - 1) % 300 == (right - 1) % 300
                np.savetxt(file, np.stack([left, right, same], axis=1), fmt="%d")
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, tmp_path / "set", name], capture_output=True, text=True, check=True
        )
        pairs, far, peak = done.stdout.split()
        assert int(pairs) == size
        peaks[name] = int(peak) / 1024
    assert float(far) == 1e-6, "two million pairs are enough for a FAR of 1e-6"
    assert peaks["many.txt"] < peaks["few.txt"] + 30, peaks
