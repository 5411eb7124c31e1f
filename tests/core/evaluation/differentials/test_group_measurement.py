"""A group of drawn people that is deliberately harder, and commands that must find it."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from faceclr_cli.commands.app import app
from faceclr_cli.core.embeddings.store import read_store

CLOSE = 1e-6
"""The threshold is the score of a pair, which is rounded differently in other places. No other score is as close."""

Report = dict[str, Any]


def run(command: str, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def report_of(command: str, *arguments: object) -> list[Report]:
    done = run(command, *arguments, "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    reports: list[Report] = content["cells"][0]["group_reports"] if command == "benchmark" else content["group_reports"]
    return reports


def groups_of(desk: Path, column: str) -> dict[str, str]:
    with open(desk / "groups.csv", newline="") as file:
        return {row["identity"]: row[column] for row in csv.DictReader(file)}


def transcribe(desk: Path, column: str, threshold: float) -> dict[str | tuple[str, str], list[int]]:
    """Counts errors and pairs of every group and pair of groups, one pair of pictures at a time."""
    store, group_of = read_store(desk / "faces.h5"), groups_of(desk, column)
    found: dict[str | tuple[str, str], list[int]] = {}
    for one, other in combinations(range(len(store)), 2):
        score = float(store.embeddings[one].astype(np.float64) @ store.embeddings[other].astype(np.float64))
        a, b = store.identities[one], store.identities[other]
        assert a is not None and b is not None
        low, high = sorted((group_of[a], group_of[b]))
        cell = found.setdefault(low if a == b else (low, high), [0, 0])
        accepted = score >= threshold - CLOSE
        cell[0] += accepted != (a == b)
        cell[1] += 1
    return found


def counts(rate: Report) -> list[int]:
    return [rate["errors"], rate["pairs"]]


def cells(report: Report) -> dict[str | tuple[str, str], list[int]]:
    found: dict[str | tuple[str, str], list[int]] = {}
    for group in report["groups"]:
        found[group["group"]] = counts(group["fnmr"])
        found[group["group"], group["group"]] = counts(group["fmr"])
    return found | {(pair["first"], pair["second"]): counts(pair["fmr"]) for pair in report["pairs"]}


def write_all_pairs(desk: Path, path: Path, people: range = range(1, 67)) -> None:
    """Lists every pair of pictures, including the one without a face."""
    names = sorted(
        f"{folder.name}/{photo.name}" for folder in (desk / "people").iterdir() for photo in folder.iterdir()
    )
    names = [name for name in names if int(name[7:9]) in people]
    lines = [f"{a},{b},{int(a[:9] == b[:9])}\n" for a, b in combinations(names, 2)]
    path.write_text("a,b,same\n" + "".join(lines))


def test_the_harder_group_is_found_and_every_rate_is_that_of_a_slow_transcription(
    crowd_desk: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "groups.png"
    arguments = ("--embeddings", crowd_desk / "faces.h5", "--all-pairs", "--groups", crowd_desk / "groups.csv")
    focus, half = report_of("verify", *arguments, "--groups-plot", plot)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (focus["attribute"], half["attribute"], focus["resampled"]) == ("focus", "half", "people")
    for column, report in (("focus", focus), ("half", half)):
        assert cells(report) == transcribe(crowd_desk, column, report["threshold"])
    assert focus["far"] == 0.01 and focus["fmr"] <= 0.01
    blurred, sharp = focus["groups"]
    assert (blurred["group"], blurred["people"], blurred["not_enrolled"]) == ("blurred", 33, None)
    worst = focus["fnmr_differential"]
    assert (worst["worst"], worst["best"]) == ("blurred", "sharp")
    rates = [group["fnmr"]["rate"] for group in (blurred, sharp)]
    assert worst["ratio"] == pytest.approx(rates[0] / rates[1]) and worst["ratio"] > 2
    assert worst["inequity"] == pytest.approx(rates[0] / np.sqrt(rates[0] * rates[1]))
    # The blurred group is worse by more than chance; people in two arbitrary halves are not.
    assert blurred["fnmr"]["low"] > sharp["fnmr"]["high"]
    one, two = (group["fnmr"] for group in half["groups"])
    assert one["low"] < two["high"] and two["low"] < one["high"]


def test_every_command_gives_the_same_rates(crowd_desk: Path, tmp_path: Path) -> None:
    """Listed pairs and all pairs, lists of people and of pictures."""
    store, pairs, pictures = crowd_desk / "faces.h5", tmp_path / "pairs.csv", tmp_path / "pictures.csv"
    write_all_pairs(crowd_desk, pairs)
    group_of = groups_of(crowd_desk, "focus")
    lines = [f"{path},{group_of[path[:9]]}\n" for path in (*read_store(store).paths, "person-02/02.jpg")]
    pictures.write_text("path,focus\n" + "".join(lines))
    every = ("--embeddings", store, "--all-pairs", "--groups", crowd_desk / "groups.csv")
    first = report_of("verify", *every)[0]
    listed = ("--pairs", pairs, "--groups", pictures)
    # A picture of the pairs that the store lacks had no face.
    for found, failed in (
        (report_of("verify", "--embeddings", store, *listed, "--threshold", first["threshold"] - CLOSE), 1),
        (report_of("benchmark", store, *listed), 1),
        (report_of("calibrate", *every, "--far", 0.01, "-o", tmp_path / "door.json"), None),
        (report_of("calibrate", "--embeddings", store, *listed, "--far", 0.01, "-o", tmp_path / "door.json"), 1),
    ):
        assert cells(found[0]) == cells(first)
        assert [group["not_enrolled"] for group in found[0]["groups"]] == [failed, failed and 0]
        assert found[0]["threshold"] == pytest.approx(first["threshold"], abs=3 * CLOSE)


def test_pictures_without_a_face_belong_to_their_group(crowd_desk: Path, tmp_path: Path) -> None:
    pairs, people, groups = tmp_path / "pairs.csv", crowd_desk / "people", crowd_desk / "groups.csv"
    write_all_pairs(crowd_desk, pairs, range(1, 9))
    here = ("--pairs", pairs, "--root", people, "--groups", groups)
    rate = ("--far", 0.1, "-o", tmp_path / "door.json")
    for found in (
        report_of("verify", "--protocol", "lfw", *here, "--folds", 2),
        report_of("benchmark", people, "--pairs", pairs, "--groups", groups, "--folds", 2),
        report_of("calibrate", *here, *rate),
        report_of("calibrate", *here, *rate, "--all-pairs"),
    ):
        blurred, sharp = found[0]["groups"]
        assert (blurred["not_enrolled"], blurred["pictures"], blurred["people"]) == (1, 8, 4)
        assert (sharp["not_enrolled"], sharp["pictures"], sharp["people"]) == (0, 8, 4)
        # The pair of the picture without a face is not part of any rate.
        assert (blurred["fnmr"]["pairs"], sharp["fnmr"]["pairs"]) == (3, 4)


def test_small_groups_are_refused_by_name(crowd_desk: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    sizes = [("few", 3), ("some", 20), ("many", 43)]
    names = [name for name, size in sizes for _ in range(size)]
    groups.write_text("identity,size\n" + "".join(f"person-{n:02d},{name}\n" for n, name in enumerate(names, start=1)))
    arguments = ("--embeddings", crowd_desk / "faces.h5", "--all-pairs", "--groups", groups, "--far", 0.01)
    done = run("verify", *arguments)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    assert "FMR needs 300 impostor pairs; not measured: few (8)." in text
    assert "An interval of the FMR needs 300 pairs of people; too few: some (190)." in text
    assert "FMR needs 300 impostor pairs; not measured: few × some (" in text
    assert "too few: few × many (129)." in text
    (report,) = report_of("verify", *arguments)
    assert [group["fmr"]["rate"] is None for group in report["groups"]] == [True, False, False]


def test_the_terminal_says_whether_a_difference_may_be_chance(crowd_desk: Path) -> None:
    done = run("verify", "--embeddings", crowd_desk / "faces.h5", "--all-pairs", "--groups", crowd_desk / "groups.csv")
    focus, half = done.stdout.split("groups     half")
    said = next(line for line in focus.splitlines() if line.startswith("FNMR "))
    assert "times as high for blurred as for sharp" in said and "overlap" not in said
    said = next(line for line in half.splitlines() if line.startswith("FNMR "))
    assert said.endswith("the intervals overlap")


def test_pictures_without_a_group_count_in_no_group(crowd_desk: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("".join((crowd_desk / "groups.csv").read_text().splitlines(keepends=True)[:41]))
    done = run("verify", "--embeddings", crowd_desk / "faces.h5", "--all-pairs", "--groups", groups, "--json")
    names = read_store(crowd_desk / "faces.h5").identities
    without = sum(name is not None and int(name[7:]) > 40 for name in names)
    assert f"faces.h5: {without} of {len(names)} pictures have no value of focus in" in done.stderr
    report = json.loads(done.stdout)["group_reports"][0]
    assert report["ungrouped"] == without
    assert [group["people"] for group in report["groups"]] == [20, 20]
    assert report["genuine"] > sum(group["fnmr"]["pairs"] for group in report["groups"]) + 15


def test_groups_that_cannot_be_measured_are_errors_in_one_line(crowd_desk: Path, tmp_path: Path) -> None:
    strangers, flat, plot = tmp_path / "strangers.csv", tmp_path / "flat.csv", tmp_path / "plot.gif"
    strangers.write_text("identity,age\nann,old\n")
    flat.write_text("a,b,same\n01.jpg,02.jpg,1\n01.jpg,03.jpg,0\n")
    store, groups = crowd_desk / "faces.h5", crowd_desk / "groups.csv"
    every = ("verify", "--embeddings", store, "--all-pairs")
    for arguments, code, message in (
        ((*every, "--groups", strangers), 3, "strangers.csv: lists none of the people; it begins with ann"),
        ((*every, "--groups", tmp_path / "none.csv"), 3, "none.csv: cannot be read"),
        ((*every, "--groups", groups, "--groups-plot", plot), 2, "plot.gif: unsupported picture format"),
        ((*every, "--groups-plot", "plot.png"), 2, "--groups-plot: requires --groups FILE"),
        ((*every, "--groups", groups, "--far", "1e-9"), 3, "faces.h5: a FAR of 1e-09 needs 1,000,000,000 or more"),
        ((*every, "--far", "0.01"), 2, "--far: an evaluation chooses its own thresholds"),
        (("verify", "a.jpg", "b.jpg", "--groups", groups), 2, "--groups: requires --protocol or --embeddings"),
        (("verify", "--protocol", "scores", "--pairs", flat, "--groups", groups), 2, "--groups: requires the names"),
        (("verify", "--protocol", "lfw", "--pairs", flat, "--groups", groups), 3, "the people are unknown"),
        (
            ("calibrate", "--root", crowd_desk / "people", "--all-pairs", "--groups", strangers, "-o", tmp_path / "c"),
            3,
            "lists none of the people",
        ),
    ):
        done = run(*arguments)
        assert done.exit_code == code, (arguments, done.output)
        assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "c").exists()


def test_a_benchmark_warns_of_a_set_of_other_people(crowd_desk: Path, tmp_path: Path) -> None:
    groups, folders = tmp_path / "groups.csv", [tmp_path / "first", tmp_path / "second"]
    groups.write_text("path,age\nann/1.jpg,old\nann/2.jpg,old\nbo/1.jpg,young\nbo/2.jpg,young\n")
    for folder, names in zip(folders, (("ann", "bo"), ("cy", "dee")), strict=True):
        for number, name in enumerate(names, start=1):
            (folder / name).mkdir(parents=True)
            for photo in (1, 2):
                source = crowd_desk / "people" / f"person-{2 * number + 1:02d}" / f"{photo:02d}.jpg"
                (folder / name / f"{photo}.jpg").write_bytes(source.read_bytes())
        lines = [f"{a}/1.jpg,{b}/2.jpg,{int(a == b)}\n" for a in names for b in names]
        (folder / "pairs.csv").write_text("".join(lines))
    both = run("benchmark", *folders, "--groups", groups, "--folds", 2, "--json")
    assert both.exit_code == 0, both.output
    assert "sface on second: groups not measured: " in " ".join(both.stderr.split())
    assert [len(cell["group_reports"]) for cell in json.loads(both.stdout)["cells"]] == [1, 0]
    alone = run("benchmark", folders[1], "--groups", groups, "--folds", 2)
    assert alone.exit_code == 3 and "lists none of the pictures" in " ".join(alone.stderr.split())
