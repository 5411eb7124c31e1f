"""The output of every command with --json matches its schema exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from docs.json_page import PARTS, command_of, commands
from faceclr_cli.commands import progress
from faceclr_cli.commands.demo_steps import STEPS
from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.upkeep import doctor
from tests.core.evaluation.importing.foreign_files import untrained, write_model
from tests.docs.json_schemas import FOUND, VALIDATORS
from tests.docs.running import Printed, typed
from tests.drawn_film import Actor, Shot, write_film


@dataclass(frozen=True)
class Case:
    """A command line, what it prints, and how it ends."""

    schema: str
    line: str
    exit_code: int = 0

    @property
    def typed(self) -> str:
        """Returns the command line with the options that make it print data."""
        # Rows for other programs are asked for by their place, and not by --json.
        return self.line + " --json" * (self.schema != "embed-rows")

    def __str__(self) -> str:
        return f"{self.schema}: {self.line}"


SMALL = "--backbone test_resnet --image-size 32 --embedding-dim 16 --batch-size 8"
# In this order: later commands read what earlier ones write.
CASES = [
    Case("prepare-dry-run", "prepare photos -o faces --dry-run"),
    Case("prepare", "prepare photos -o faces --workers 1"),
    Case("prepare", "prepare photos -o faces --workers 1 --max-bad 0", 3),
    Case("split", "split faces -o splits --train 0.34 --val 0.33 --test 0.33"),
    Case("clean", "clean faces -o clean.csv"),
    Case("clean-apply", "clean faces --apply clean.csv -o cleaned"),
    Case("pack", "pack faces -o faces.rec"),
    Case("info-container", "info faces.rec"),
    Case("import", "import foreign.onnx -o imported --color rgb --scale 127.5"),
    Case("embed", "embed faces -o faces.h5"),
    Case("embed-rows", "embed photos/person-01 -o - --quality full"),
    Case("benchmark", "benchmark splits -m sface -m pixels --folds 2 --groups groups.csv"),
    Case("benchmark-bin", "benchmark splits --write-bin set.bin"),
    Case("linear-eval", "linear-eval faces.h5 --shots 1 --draws 2 --rounds 100 --save known"),
    Case("linear-eval", "linear-eval faces.h5 --probe knn --identities 3 --rounds 100"),
    Case("verify", "verify photos/person-01/01.jpg photos/person-01/01.jpg"),
    Case("verify", "verify photos/person-01/01.jpg photos/person-02/01.jpg --threshold 1", 1),
    Case("verify-pairs", "verify --pairs pairs.csv --root photos"),
    Case("verify-gallery", "verify photos/person-01/01.jpg --gallery faces.h5 --threshold 0"),
    Case("verify-measured", "verify --embeddings faces.h5 --pairs splits/pairs.csv --groups groups.csv"),
    Case("verify-measured", "verify --protocol lfw --pairs labeled.csv --root photos --folds 2 --max-bad 0.1", 3),
    Case("verify-measured", "verify --protocol scores --pairs scores.csv --calibrate-on scores.csv"),
    Case("verify-all-pairs", "verify --embeddings faces.h5 --all-pairs --groups groups.csv --threshold 0.5"),
    Case("verify-templates", "verify --embeddings faces.h5 --all-pairs --template max --template-list templates.csv"),
    Case("identify", "identify photos/person-01 --gallery faces.h5"),
    Case("identify", "identify splits/test --gallery known"),
    Case("identify-film", "identify film.mp4 --gallery faces.h5"),
    Case("identify-folder", "identify films --gallery faces.h5"),
    Case("identify-evaluate", "identify photos --gallery splits/test --evaluate"),
    Case("identify-evaluate", "identify splits/test --gallery known --evaluate"),
    Case("identify-evaluate", "identify splits/test --gallery known --evaluate --template mean"),
    Case("cluster", "cluster faces.h5 --threshold 0.4 --faces faces -o groups"),
    Case("cluster", "cluster faces.h5 --method hdbscan"),
    Case("cluster", "cluster faces.h5 --threshold 0.99 --faces faces -o album --review 3"),
    Case("review", "review album"),
    Case("calibrate", "calibrate --embeddings faces.h5 --all-pairs --rounds 100 -o door.json --groups groups.csv"),
    Case("tsne", "tsne faces.h5 -o map.png -o map.html"),
    Case("tsne", "tsne splits/test -o map.png --method pca --identities 1"),
    Case("pretrain-views", "pretrain splits/train --show-views views.png"),
    Case("pretrain", f"pretrain splits/train -o run --epochs 1 {SMALL}"),
    Case("pretrain", f"pretrain splits/train -o rounds --rounds 1 --epochs 2 {SMALL}"),
    Case("pretrain", f"pretrain splits/train -o untrained --epochs 0 --pool mean {SMALL}"),
    Case(
        "distill",
        "distill splits/train --teacher run -o run-d --epochs 1 --backbone test_resnet --image-size 32 --batch-size 8",
    ),
    Case(
        "train-triplet",
        "train-triplet splits/train -o run-t --init run --epochs 1 --image-size 32 --batch-size 8 "
        "--benchmark splits/test",
    ),
    Case("train-center", "train-center splits/train -o run-c --init run --epochs 1 --image-size 32 --batch-size 4"),
    Case("export", "export run -o run.onnx"),
    Case("info-faces", "info faces"),
    Case("info-faces", "info splits/test"),
    Case("info-split", "info splits"),
    Case("info-run", "info run"),
    Case("info-run", "info untrained"),
    Case("info-encoder", "info run-t/encoder"),
    Case("info-exported", "info run.onnx"),
    Case("info-embeddings", "info faces.h5"),
    Case("info-groups", "info groups"),
    Case("info-classifier", "info known"),
    Case("info-calibration", "info door.json"),
    Case("forget", "forget --identity person-01 faces.h5 splits --dry-run"),
    Case("forget", "forget --identity person-01 faces.h5 faces"),
]
ABSENT_IN_SOME = {
    "info-faces": {"source", "files", "reasons"},
    "embed-rows": {"sharpness", "eye_distance", "frontality", "stability"},
}
"""Fields that other command lines print a schema's document without."""
SEEN_ELSEWHERE = {"demo", "doctor", "events", "export-int8"}
WITHOUT_JSON: dict[str, str] = {}
"""Commands that print no JSON, and why; there are none."""

MORE = "--init run --epochs 1 --image-size 32 --batch-size 8"
# Every command, and every form of its output.
QUIET = [
    "prepare photos -o quiet-faces --workers 1",
    "split faces -o quiet-splits --train 0.34 --val 0.33 --test 0.33",
    "clean faces -o quiet.csv",
    "pack faces -o quiet.rec",
    f"pretrain splits/train -o quiet --epochs 1 {SMALL}",
    f"distill splits/train --teacher run -o quiet-d --epochs 1 {SMALL}",
    f"train-triplet splits/train -o quiet-t {MORE}",
    f"train-center splits/train -o quiet-c {MORE}",
    "embed faces -o quiet.h5 --model pixels",
    "linear-eval faces.h5 --rounds 100",
    "linear-eval faces.h5 --rounds 100 --format csv",
    "verify photos/person-02/01.jpg photos/person-02/01.jpg",
    "verify --pairs pairs.csv --root photos",
    "benchmark splits -m pixels --folds 2",
    "verify --embeddings faces.h5 --pairs splits/pairs.csv",
    "verify --embeddings faces.h5 --all-pairs",
    "identify photos/person-02 --gallery faces.h5",
    "cluster faces.h5 --threshold 0.4",
    "review album",
    "calibrate --embeddings faces.h5 --all-pairs --far 0.1 --rounds 100 -o quiet.json",
    "tsne faces.h5 -o quiet.png --method pca",
    "import foreign.onnx -o quiet-imported --color rgb --scale 127.5",
    "export run -o quiet.onnx",
    "export untrained --format timm -o quiet-timm",
    "info faces.h5",
    "forget --identity person-02 faces.h5 --dry-run",
]
BOTH = f"train-center splits/train -o both {MORE} --quiet --json"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Printed]:
    """Returns the output of each command line, typed in a folder with drawn people."""
    desk = tmp_path_factory.mktemp("desk")
    write_people(desk / "photos", people=6, photos=5, seed=3, reporter=Silent())
    (desk / "photos" / "person-01" / "notes.jpg").write_text("not a picture")
    genuine, impostor = "person-01/01.jpg,person-01/02.jpg", "person-02/01.jpg,person-03/01.jpg"
    (desk / "pairs.csv").write_text(f"{genuine}\n{impostor}\nperson-01/01.jpg,person-01/notes.jpg\n")
    failing = "person-01/notes.jpg,person-02/01.jpg,0\n"
    (desk / "labeled.csv").write_text(f"{genuine},1\n{impostor},0\n{failing}" * 2)
    write_film(desk / "film.mp4", (Shot(0, 1, (60, 90, 120), (Actor(1, lambda _: (300, 180)),)),))
    (desk / "films").mkdir()
    (desk / "films/film.mp4").write_bytes((desk / "film.mp4").read_bytes())
    write_model(desk / "foreign.onnx", untrained())
    halves = (f"person-0{who}/0{photo}.jpg,{who}-{photo % 2},p{who}\n" for who in range(1, 7) for photo in range(1, 5))
    (desk / "templates.csv").write_text(f"path,template,person\n{''.join(halves)}")
    ages = (f"person-{who:02d},{'old' if who % 2 else 'young'}\n" for who in range(1, 7))
    (desk / "groups.csv").write_text("identity,age\n" + "".join(ages))
    (desk / "scores.csv").write_text("0.9,1\n0.1,0\n" * 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.setenv("FACECLR_CACHE", str(desk / "cache"))
        # Otherwise, no task here would take long enough for a progress event.
        patch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        lines = [case.typed for case in CASES] + [f"{line} --quiet" for line in QUIET] + [BOTH]
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # For networks as small as these, more cost more than they bring.
        try:
            return {line: typed(line) for line in lines}
        finally:
            torch.set_num_threads(threads)


def documents(done: Printed) -> list[dict[str, Any]]:
    """Parses every line of standard output. A line that is not JSON fails here."""
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_standard_output_is_what_the_schema_says_and_nothing_else(case: Case, printed: Mapping[str, Printed]) -> None:
    done = printed[case.typed]
    assert done.exit_code == case.exit_code, done.stderr
    found = documents(done)
    assert len(found) == 1 or (found and "One document per line." in FOUND[case.schema]["description"])
    for document in found:
        VALIDATORS[case.schema].validate(document)
    assert done.stray == ""


@pytest.mark.parametrize("case", [case for case in CASES if case.schema != "embed-rows"], ids=str)
def test_standard_error_has_events_and_errors_alone(case: Case, printed: Mapping[str, Printed]) -> None:
    done = printed[case.typed]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    for line in done.stderr.splitlines():
        if line not in errors:
            VALIDATORS["events"].validate(json.loads(line))
    assert len(errors) == (case.exit_code > 1)


@pytest.mark.parametrize("schema", sorted({case.schema for case in CASES}))
def test_a_field_too_many_or_too_few_would_be_noticed(schema: str, printed: Mapping[str, Printed]) -> None:
    validator = VALIDATORS[schema]
    [document, *_] = [each for case in CASES if case.schema == schema for each in documents(printed[case.typed])]
    assert not validator.is_valid(document | {"surprise": 1})
    for name in document.keys() - ABSENT_IN_SOME.get(schema, set()):
        assert not validator.is_valid({key: value for key, value in document.items() if key != name}), name


@pytest.mark.parametrize("line", QUIET)
def test_quiet_alone_prints_nothing_at_all(line: str, printed: Mapping[str, Printed]) -> None:
    done = printed[f"{line} --quiet"]
    assert (done.exit_code, done.stdout, done.stderr, done.stray) == (0, "", "", "")


def test_with_quiet_and_json_there_is_the_document_alone(printed: Mapping[str, Printed]) -> None:
    VALIDATORS["train-center"].validate(*documents(printed[BOTH]))
    assert (printed[BOTH].exit_code, printed[BOTH].stderr, printed[BOTH].stray) == (0, "", "")


def test_each_kind_of_event_was_told(printed: Mapping[str, Printed]) -> None:
    lines = [
        line for case in CASES if case.schema.startswith("train-") for line in printed[case.typed].stderr.splitlines()
    ]
    assert {json.loads(line)["event"] for line in lines} == {"progress", "epoch", "notice"}


def test_doctor_is_quiet_where_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CHECKS", {"system": doctor._system})
    done = typed("doctor --quiet")
    assert (done.exit_code, done.stdout, done.stderr, done.stray) == (0, "", "", "")


def test_doctor_prints_what_it_found_also_where_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> str:
        raise ConfigError("it is missing")

    monkeypatch.setattr(doctor, "_CHECKS", {"system": doctor._system, "extras": doctor._extras, "other": look})
    done = typed("doctor --json --quiet")
    [report] = documents(done)
    VALIDATORS["doctor"].validate(report)
    assert (done.exit_code, report["ok"], done.stderr) == (2, False, "error: other: it is missing\n")


@pytest.mark.nightly
def test_the_demonstration_prints_a_document_for_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = typed("demo --json --quiet")
    assert (done.exit_code, done.stderr, done.stray) == (0, "", "")
    *steps, last = documents(done)
    VALIDATORS["demo"].validate(last)
    for line, document in zip(STEPS.splitlines(), steps, strict=True):
        name = line.split()[0]
        VALIDATORS["verify-measured" if name == "verify" else name].validate(document)


def test_every_command_and_every_schema_is_tested() -> None:
    assert {command_of(FOUND[case.schema]) for case in CASES} == {case.line.split()[0] for case in CASES}
    assert all(command_of(FOUND[case.schema]) == case.line.split()[0] for case in CASES)
    assert {line.split()[0] for line in QUIET} == set(commands()) - SEEN_ELSEWHERE
    assert {case.schema for case in CASES} | SEEN_ELSEWHERE == FOUND.keys() - {PARTS}
    described = {command_of(schema) for name, schema in FOUND.items() if name not in (PARTS, "events")}
    assert described | WITHOUT_JSON.keys() == set(commands())
