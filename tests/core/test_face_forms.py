"""Every command that takes prepared faces takes them in every form, with the same results."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.configs.calibrate import CalibrateConfig
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.clean import CleanConfig
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.info import InfoConfig
from faceclr_cli.core.configs.linear_eval import LinearEvalConfig
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.errors import FaceclrError
from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark
from faceclr_cli.core.evaluation.calibration.calibrate import calibrate
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.evaluation.identification.identify import identify
from faceclr_cli.core.evaluation.probing.linear_eval import linear_eval
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops
from faceclr_cli.core.sources import container_index, folder_index
from faceclr_cli.core.sources.container_index import NameTable
from faceclr_cli.core.sources.record_file import MAGIC, RecordWriter
from faceclr_cli.core.training.trainers import train
from faceclr_cli.core.upkeep.clean import clean
from faceclr_cli.core.upkeep.info import info
from tests.core.training.toy import SIZE, make_faces, weights

PEOPLE, PICTURES = 8, 6
SMALL: dict[str, Any] = {
    "backbone": "test_resnet", "image_size": SIZE, "embedding_dim": 16, "batch_size": 16, "precision": "32",
    "epochs": 1, "hold_out": 0.0,
}  # fmt: skip
OTHERS = ["folder of many", "shard", "folder of shards", "parquet", "lmdb"]
FORMS = ["rec", "pattern of shards", *(pytest.param(form, marks=pytest.mark.nightly) for form in OTHERS)]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same crops in each form; people have numbers for names, as LMDB has nothing else."""
    lmdb = pytest.importorskip("lmdb")
    pytest.importorskip("pyarrow")
    root = tmp_path_factory.mktemp("forms")
    made = make_faces(root / "made", PEOPLE, PICTURES)
    faces = root / "faces"
    for label, person in enumerate(sorted(made.glob("person_*"))):
        for number, picture in enumerate(sorted(person.iterdir())):
            target = faces / f"{label:07d}" / f"{label * PICTURES + number:08d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.rename(target)
    fingerprint = fingerprint_for_foreign_crops("arcface", SIZE).to_json()
    (faces / "faceclr.json").write_text(json.dumps({"kind": "faces", "fingerprint": fingerprint}))
    for out in (root / "a.rec", root / "shards" / "a-%06d.tar", root / "a.parquet"):
        pack(PackConfig(faces=faces, out=out), Silent())
    opened = open_face_set(faces)
    with (
        lmdb.open(str(root / "a.lmdb"), subdir=False, map_size=2**22) as environment,
        environment.begin(write=True) as transaction,
    ):
        for place in range(len(opened)):
            content, label = opened.read(place), int(opened.identities[place] or -1)
            transaction.put(b"%d" % place, b"\x92\xc5" + struct.pack(">H", len(content)) + content + bytes([label]))
    return {
        "folder": faces,
        "folder of many": faces,  # Its listing is kept in a file; see the test.
        "rec": root / "a.rec",
        "shard": root / "shards" / "a-000000.tar",
        "folder of shards": root / "shards",
        "pattern of shards": root / "shards" / "a-*.tar",
        "parquet": root / "a.parquet",
        "lmdb": root / "a.lmdb",
    }


@pytest.fixture(scope="module")
def encoder(forms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    config = CenterConfig(data=(forms["folder"],), out=tmp_path_factory.mktemp("encoder") / "run", **SMALL)
    return str(train(config, Silent()).run)


def _train(kind: type[Any], **options: Any) -> Callable[[Path, str, Path], Any]:
    def command(faces: Path, encoder: str, out: Path) -> str:
        more = {"teacher": (encoder,)} if kind is DistillConfig else {}
        return weights(train(kind(data=(faces,), out=out / "run", **SMALL, **options, **more), Silent()).run)

    return command


def _embed(faces: Path, encoder: str, out: Path) -> Any:
    result = embed(EmbedConfig(faces=faces, model=encoder, out=out / "a.h5"), Silent())
    return result.faces, result.people


def _split(faces: Path, encoder: str, out: Path) -> Any:
    del encoder
    split(SplitConfig(faces=faces, out=out / "parts"), Silent())
    return sorted(path.read_bytes() for path in (out / "parts" / "train").glob("*/*.*"))


def _linear_eval(faces: Path, encoder: str, out: Path) -> Any:
    del out
    (row,) = linear_eval(LinearEvalConfig(stores=(faces,), model=encoder), Silent()).rows
    return row.top1 if hasattr(row, "top1") else row.to_json()["top1"]


def _cluster(faces: Path, encoder: str, out: Path) -> Any:
    result = cluster(ClusterConfig(source=faces, model=encoder, threshold=0.5, out=out / "groups"), Silent())
    return len(result.faces), sorted(sum(1 for _ in group.iterdir()) for group in _folders(out / "groups"))


def _folders(root: Path) -> list[Path]:
    return [child for child in root.iterdir() if child.is_dir()]


def _identify(faces: Path, encoder: str, out: Path) -> Any:
    del out
    config = IdentifyConfig(photos=faces, gallery=faces, model=encoder, threshold=0.5)
    return [(each.name, each.matches) for each in identify(config, Silent())]


def _pairs(out: Path) -> Path:
    path = out / "pairs.csv"
    every = combinations(range(PEOPLE * PICTURES), 2)
    rows = [
        f"{one // PICTURES:07d}/{one:08d}.jpg,{other // PICTURES:07d}/{other:08d}.jpg,{int(same)}"
        for one, other in every
        if (same := one // PICTURES == other // PICTURES) or one % PICTURES == other % PICTURES
    ]
    path.write_text("\n".join(["a,b,same", *rows]) + "\n")
    return path


def _benchmark(faces: Path, encoder: str, out: Path) -> Any:
    config = BenchmarkConfig(sets=(faces,), pairs=_pairs(out), model=(encoder,))
    (cell,) = benchmark(config, Silent()).cells
    return cell.to_json()["accuracy"], cell.to_json()["auc"]


def _calibrate(faces: Path, encoder: str, out: Path) -> Any:
    config = CalibrateConfig(root=faces, all_pairs=True, model=encoder, far=(0.1,), out=out / "calibration.json")
    return _thresholds(config)


def _calibrate_pairs(faces: Path, encoder: str, out: Path) -> Any:
    config = CalibrateConfig(root=faces, pairs=_pairs(out), model=encoder, far=(0.1,), out=out / "calibration.json")
    return _thresholds(config)


def _thresholds(config: CalibrateConfig) -> Any:
    result = calibrate(config, Silent())
    return result.faces, result.genuine, result.impostor, result.calibration.points


def _clean(faces: Path, encoder: str, out: Path) -> Any:
    config = CleanConfig(faces=faces, model=encoder, against=(faces,), out=out / "clean.csv", sheet=out / "sheet.jpg")
    return sorted((each.face, each.what, each.action) for each in clean(config, Silent()).proposals)


def _info(faces: Path, encoder: str, out: Path) -> Any:
    del encoder, out
    about = info(InfoConfig(path=faces), Silent()).to_json()
    return about["people"]


COMMANDS: dict[str, Callable[[Path, str, Path], Any]] = {
    "pretrain": _train(PretrainConfig),
    "train-center": _train(CenterConfig),
    "train-triplet": _train(TripletConfig, mining="random"),
    "distill": _train(DistillConfig),
    "embed": _embed,
    "split": _split,
    "linear-eval": _linear_eval,
    "cluster": _cluster,
    "identify": _identify,
    "benchmark": _benchmark,
    "calibrate": _calibrate,
    "calibrate-pairs": _calibrate_pairs,
    "clean": _clean,
    "info": _info,
}


@pytest.fixture(scope="module")
def of_folder(forms: dict[str, Path], encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    known: dict[str, Any] = {}

    def result(command: str) -> Any:
        if command not in known:
            known[command] = COMMANDS[command](forms["folder"], encoder, tmp_path_factory.mktemp(command))
        return known[command]

    return result


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_form_gives_what_the_folder_gives(
    command: str,
    form: str,
    forms: dict[str, Path],
    encoder: str,
    of_folder: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = of_folder(command)
    if form == "folder of many":
        for module in (container_index, folder_index):
            monkeypatch.setattr(module, "FEWEST", 1)
        assert isinstance(open_face_set(forms[form]).paths, NameTable)
    assert COMMANDS[command](forms[form], encoder, tmp_path) == expected


def _cut(path: Path, out: Path) -> Path:
    out.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return out


def _cut_record(forms: dict[str, Path], out: Path) -> Path:
    (out / "a.idx").write_bytes(forms["rec"].with_suffix(".idx").read_bytes())
    return _cut(forms["rec"], out / "a.rec")


def _foreign_index(forms: dict[str, Path], out: Path) -> Path:
    (out / "a.idx").write_text("".join(f"{key}\t{4 * key + 4}\n" for key in range(10)))
    (out / "a.rec").write_bytes(forms["rec"].read_bytes())
    return out / "a.rec"


def _records(forms: dict[str, Path], out: Path, label: float, picture: bytes | None) -> Path:
    faces = open_face_set(forms["folder"])
    with RecordWriter(out / "a.rec", out / "a.idx") as writer:
        for place in range(len(faces)):
            writer.write(place, label, faces.read(place) if picture is None else picture)
    return out / "a.rec"


def _long_record(forms: dict[str, Path], out: Path) -> Path:
    del forms
    with open(out / "a.rec", "wb") as file:
        file.write(struct.pack("<IIIfQQ", MAGIC, 0x20000000 - 1, 0, 1.0, 1, 0))
        file.truncate(0x20000000 + 8)
    return out / "a.rec"


def _table(forms: dict[str, Path], out: Path, change: Callable[[Any], Any]) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(change(parquet.read_table(forms["parquet"])), out / "a.parquet")
    return out / "a.parquet"


def _with_labels(table: Any, value: object) -> Any:
    return table.set_column(table.schema.get_field_index("label"), "label", [[value] * len(table)])


HOSTILE: dict[str, Callable[[dict[str, Path], Path], Path]] = {
    "cut record file": _cut_record,
    "index of another file": _foreign_index,
    "labels that are not numbers": lambda forms, out: _records(forms, out, float("nan"), None),
    "records that are not pictures": lambda forms, out: _records(forms, out, 1.0, b"not a picture"),
    "record of a billion bytes": _long_record,
    "cut shard": lambda forms, out: _cut(forms["shard"], out / "a.tar"),
    "cut table": lambda forms, out: _cut(forms["parquet"], out / "a.parquet"),
    "table without pictures": lambda forms, out: _table(forms, out, lambda table: table.drop_columns(["image"])),
    "table of NaN labels": lambda forms, out: _table(forms, out, lambda table: _with_labels(table, float("nan"))),
    "table of no labels": lambda forms, out: _table(forms, out, lambda table: _with_labels(table, None)),
    "empty file": lambda _, out: _cut(Path("/dev/null"), out / "a.rec"),
    "cut database": lambda forms, out: _cut(forms["lmdb"], out / "a.lmdb"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.nightly) for kind in HOSTILE])
def test_hostile_containers_end_with_one_line(
    kind: str, command: str, forms: dict[str, Path], encoder: str, tmp_path: Path
) -> None:
    """Or the command uses what it can, for example without labels. There is no other exception and no output."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path = HOSTILE[kind](forms, tmp_path / "in")
    try:
        COMMANDS[command](path, encoder, tmp_path / "out")
    except FaceclrError as error:
        assert str(error) and "\n" not in str(error)
        assert {file.name for file in (tmp_path / "out").iterdir()} <= {"pairs.csv"}
