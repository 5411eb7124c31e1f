"""docs/artifacts.md lists what is in the artifacts, no less and no more, and its snippets read them."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import h5py
import numpy as np
import onnx
import pytest
import torch
from pyarrow import parquet
from safetensors import safe_open
from safetensors.numpy import load_file
from typer.testing import CliRunner

from faceclr_cli.commands.app import app
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.embeddings.store import open_store
from faceclr_cli.core.errors import ConfigError, DataError, FingerprintError
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.fingerprint import UNKNOWN
from faceclr_cli.core.faces.reasons import FILTER_REASONS, TRANSIENT_REASONS, Reason
from faceclr_cli.core.preparing.ledger import Ledger, RowState
from tests.docs.desk import make_desk
from tests.docs.pages import coded, read_page, require_listed, tables

PAGE = read_page("artifacts.md")
TABLES = tables(PAGE)
STAMP = {"kind", "faceclr", "config"}
TRAINERS = {"pretrain": "run", "train-triplet": "run-t", "train-center": "run-c"}


@pytest.fixture(scope="module", autouse=True)
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every artifact, in the working directory."""
    desk, threads = tmp_path_factory.mktemp("desk"), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECLR_CACHE", str(desk / "cache"))
        patch.chdir(desk)
        make_desk()
        yield
    torch.set_num_threads(threads)


def listed(heading: str, column: str) -> dict[str, str]:
    """Returns the first column of a table with such a heading, and the types of its rows."""
    rows = [row for row in TABLES[heading] if column in row]
    return {name: row.get("type", "") for row in rows for name in coded(row[column])}


def read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="ascii"))
    return content


def heading_of(*path: str) -> list[str]:
    return Path(*path).read_text(encoding="ascii").splitlines()[0].split(",")


def note_of(run: str) -> dict[str, Any]:
    (path,) = Path(run, "checkpoints").glob("step-*.safetensors")
    with safe_open(path, "np") as file:
        assert set(file.metadata()) == {"faceclr"}
        content: dict[str, Any] = json.loads(file.metadata()["faceclr"])
        names = list(file.keys())
    assert all(re.match(r"(task|optimiser\.\d+)\.", name) for name in names)
    return content


DOCUMENTS = [
    ("faces/faceclr.json", "faces", "`faceclr.json`"),
    ("splits/split.json", "split", "`split.json`"),
    ("splits/train/faceclr.json", "faces", "`faceclr.json` of a part"),
    ("run/encoder/encoder.json", "encoder", "`encoder.json`"),
    ("run-c/encoder/encoder.json", "encoder", "`encoder.json`"),
    ("thresholds.json", "calibration", "A file of `calibrate -o`"),
    ("known/classifier.json", "classifier", "`classifier.json`"),
    ("groups/cluster.json", "groups", "`cluster.json`"),
]


@pytest.mark.parametrize(("path", "kind", "heading"), DOCUMENTS)
def test_documents(path: str, kind: str, heading: str) -> None:
    said = read(path)
    assert said["kind"] == kind
    require_listed(said, listed("The stamp", "field") | listed(heading, "field"))
    require_listed(said["fingerprint"], listed("The fingerprint", "field"))
    if said.get("calibration"):
        measured = said["calibration"]
        fields = listed("Calibration", "field")
        if measured["probability"] is None:
            fields = {name: word for name, word in fields.items() if "probability" not in name}
            fields["probability"] = "null"
        require_listed(measured, fields)


def test_groups_of_prepared_faces_are_prepared_faces() -> None:
    fields = listed("The stamp", "field") | listed("`faceclr.json` of a part", "field")
    require_listed(read("groups/faceclr.json"), {name: kind for name, kind in fields.items() if name != "part"})


def test_the_example_of_an_encoder() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    example = json.loads(block)
    require_listed(example, listed("The stamp", "field") | listed("`encoder.json`", "field"))
    require_listed(example["fingerprint"], listed("The fingerprint", "field"))
    require_listed(example["calibration"], listed("Calibration", "field"))


def test_runs_and_their_checkpoints() -> None:
    for command, run in TRAINERS.items():
        said = read(f"{run}/config.json")
        assert (said["kind"], said["command"], set(said)) == ("run", command, STAMP | {"command", "precision_rates"})
        note = note_of(run)
        assert note["kind"] == "checkpoint"
        require_listed(note, listed("The stamp", "field") | listed("Checkpoints", "field"))
        assert list(Path(run).glob("events.out.tfevents*"))


def test_every_kind_has_its_place() -> None:
    with h5py.File("faces.h5") as store:
        kinds = {read(path)["kind"] for path, _, _ in DOCUMENTS} | {"run", "checkpoint", "memory", store.attrs["kind"]}
    assert set(listed("The kinds", "kind")) == kinds


def test_the_memory_of_groups() -> None:
    content = read("groups/memory.json")
    fields = listed("The stamp", "field") | listed("`memory.json`", "field")
    # Fields that occur only after a decision of the user, or after a killed run.
    rare = {name for name, kind in fields.items() if kind == "true" or name.endswith((".apart", ".was"))}
    assert content.pop("faceless") == [], "there is none among prepared faces"
    rare |= {name for name in fields if name.startswith("faceless")}
    require_listed(content, {name: kind for name, kind in fields.items() if name not in rare})


def test_questions() -> None:
    asked = {"source": Path("faces.h5"), "faces": Path("faces"), "out": Path("asked"), "threshold": 0.9, "review": 3}
    assert cluster(ClusterConfig(**asked), Silent()).questions
    assert heading_of("asked", "review.csv") == list(listed("`review.csv`", "column"))


@pytest.mark.parametrize("command", TRAINERS)
def test_history(command: str) -> None:
    of = [row for row in TABLES["`history.csv`"] if row["of"] == "all" or command in row["of"].split(", ")]
    listed_names = [name for row in of for name in coded(row["column"])]
    # These need more validation people than there are here.
    rare = {"val_tar@1e-3", "val_threshold@1e-3"}
    assert heading_of(TRAINERS[command], "history.csv") == [name for name in listed_names if name not in rare]


def test_pairs_and_triplets() -> None:
    assert heading_of("splits/pairs.csv") == list(listed("`pairs.csv`", "column"))
    records = np.load("triplets.npy")
    assert list(records.dtype.names) == list(listed("`--triplets FILE.npy`", "field"))
    assert note_of("run-t")["data"] in records.dtype.fields


def test_the_ledger() -> None:
    with sqlite3.connect("faces/manifest.sqlite") as database:
        columns = {row[1]: row[2] for row in database.execute("PRAGMA table_info(photos)")}
        terms = [name for (name,) in database.execute("SELECT name FROM terms")]
        (more,) = database.execute("SELECT more FROM photos WHERE more IS NOT NULL LIMIT 1").fetchone()
    heading = "`manifest.sqlite`, table `photos`"
    assert columns == listed(heading, "column")
    assert sorted(terms) == sorted(listed(heading, "term"))
    about = next(row["what"] for row in TABLES[heading] if row.get("column") == "`more`")
    assert list(json.loads(more)[0]) == [name for name in coded(about) if not name.startswith("--")]


def test_states_and_reasons() -> None:
    rows = TABLES["States and reasons"]
    said = {coded(row["reason"])[0]: row["state"] for row in rows}
    skipped = {Reason.NO_FACE, Reason.NO_LANDMARKS, Reason.BAD_LANDMARKS, *FILTER_REASONS}
    assert said == {reason.value: RowState.SKIPPED if reason in skipped else RowState.FAILED for reason in Reason}
    again = {coded(row["reason"])[0] for row in rows if row[""] == "tried again by the next run"}
    assert again == {reason.value for reason in TRANSIENT_REASONS}
    assert read("faces/faceclr.json")["reasons"] == {"not a picture": 1}


def test_what_is_compared() -> None:
    ours = default_fingerprint()
    for row in TABLES["The fingerprint"]:
        (key,) = coded(row["field"])
        name = {"normalisation": "normalization"}.get(key, key)  # The key keeps the spelling of the first release.
        others = [replace(ours, **{name: 7 if name == "size" else value}) for value in ("another", UNKNOWN)]
        refused = []
        for other in others:
            with pytest.raises(FingerprintError, match=name):
                ours.require_same(other, "these", "those")
            try:
                ours.require_same_crops(other, "these", "those")
                refused.append(False)
            except FingerprintError:
                refused.append(True)
        assert row["compared"] == {
            (True, True): "always", (True, False): "if known for both", (False, False): "never"
        }[*refused]  # fmt: skip


def test_a_store() -> None:
    with h5py.File("faces.h5") as file:
        sizes = {"faces": len(file["path"]), "dim": 16}
        assert set(file) == set(listed("Datasets of a store", "dataset"))
        for row in TABLES["Datasets of a store"]:
            dataset = file[coded(row["dataset"])[0]]
            kind = "text" if h5py.check_string_dtype(dataset.dtype) else dataset.dtype.name
            shape = tuple(int(sizes.get(part, part)) for part in re.findall(r"\w+", row["shape"]))
            assert (kind, dataset.shape) == (row["type"], shape)
        attributes = dict(file.attrs)
    said = listed("Attributes of a store", "attribute")
    assert set(attributes) == STAMP | set(said)
    assert {name for name, kind in said.items() if kind == "JSON"} | {"config"} == {
        name for name, value in attributes.items() if str(value).startswith("{")
    }
    assert attributes["schema"] == 1


def test_a_store_in_parts() -> None:
    (part,) = Path("parts.h5.parts").iterdir()
    with h5py.File("parts.h5") as whole, h5py.File(part) as one:
        assert whole["embedding"].is_virtual
        assert whole["embedding"].dtype == np.float16
        assert set(one.attrs) - set(whole.attrs) == set(listed("Parts", "attribute"))


def test_other_formats() -> None:
    said = {coded(row["format"])[0]: coded(row["columns"]) for row in TABLES["Other formats"]}
    found = {
        "jsonl": list(json.loads(Path("test.jsonl").read_text().splitlines()[0])),
        "csv": [name for name in heading_of("test.csv") if not re.fullmatch(r"e[1-9]\d*", name)],
        "npz": list(np.load("test.npz")),
        "parquet": parquet.read_schema("test.parquet").names,
    }
    assert said == found


def test_weights() -> None:
    arrays = load_file("known/weights.safetensors")
    shapes = {"people": 36, "dim": 16}
    rows = TABLES["`weights.safetensors` of a classifier"]
    assert set(arrays) == {coded(row["tensor"])[0] for row in rows}
    for row in rows:
        array = arrays[coded(row["tensor"])[0]]
        assert array.dtype.name == row["type"]
        assert array.shape == tuple(shapes[part] for part in re.findall(r"\w+", row["shape"]))
    assert all(name.startswith(("backbone.", "embedding.")) for name in load_file("run/encoder/weights.safetensors"))


def test_an_exported_encoder() -> None:
    keys = [entry.key for entry in onnx.load("run/encoder/encoder.onnx").metadata_props]
    assert keys == list(listed("`encoder.onnx`", "key"))


def test_lines() -> None:
    for path, heading in (("scores.jsonl", "`verify --results FILE`"), ("groups/faces.jsonl", "`faces.jsonl`")):
        lines = Path(path).read_text(encoding="ascii").splitlines()
        for line in lines:
            require_listed(json.loads(line), listed(heading, "field"))
        assert len(lines) > 30


def test_standard_output() -> None:
    lines = {
        "verify --pairs": ["verify", "--pairs", "splits/pairs.csv", "--root", "faces", "--model", "run"],
        "identify": ["identify", "photos/ann_lee/01.jpg", "--gallery", "faces.h5", "--model", "run"],
    }
    for row in TABLES["CSV on standard output"]:
        said = CliRunner().invoke(app, [*lines.pop(*coded(row["command"])), "--threshold", "0.5"])
        assert next(csv.reader(said.stdout.splitlines()))[: len(coded(row["columns"]))] == coded(row["columns"])
    assert not lines


def test_the_file_of_options() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    for name, table in tomllib.loads(block).items():
        config = get_type_hints(import_module(f"faceclr_cli.commands.{name}").run)["config"]
        config(**{key.replace("-", "_"): value for key, value in table.items()})


def test_other_versions(tmp_path: Path) -> None:
    said = [re.findall(r'"([^"]+)"', "".join(row.values())) for row in TABLES["Other versions"]]
    store = tmp_path / "faces.h5"
    store.write_bytes(Path("faces.h5").read_bytes())
    with h5py.File(store, "a") as file:
        file.attrs["schema"] = 2
    with pytest.raises(DataError, match=re.escape(said[0][0].replace("N", "2"))), open_store(store):
        pass
    ledger = tmp_path / "manifest.sqlite"
    ledger.write_bytes(Path("faces/manifest.sqlite").read_bytes())
    with sqlite3.connect(ledger) as database:
        database.execute("UPDATE terms SET value = '1' WHERE name = 'schema'")
    with pytest.raises(ConfigError, match=re.escape(said[1][0].replace("N", "1"))), Ledger.open(ledger, {}):
        pass


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_snippets(block: str) -> None:
    assert len(block.splitlines()) <= 6
    with redirect_stdout(io.StringIO()) as said:
        exec(compile(block, "artifacts.md", "exec"), {})
    assert said.getvalue().strip()
