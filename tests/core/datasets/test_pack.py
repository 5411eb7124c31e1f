"""Containers of crops: every command that takes a folder of faces takes them, with the same results."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceclr_cli.core.artifacts import digest_file
from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.info import InfoConfig
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.face_sets import is_face_set, open_face_set
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.datasets.splitting.split import split
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.face_folder import open_faces
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.sources.record_file import RecordWriter
from faceclr_cli.core.training.trainers import train
from faceclr_cli.core.upkeep.info import info
from tests.core.training.toy import make_faces

FORMS = ["faces.rec", "shards/faces-%06d.tar", "faces.parquet"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_faces(tmp_path_factory.mktemp("set") / "faces", 6, 5)


@pytest.fixture(scope="module", params=FORMS)
def packed(faces: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same faces in a container."""
    if request.param.endswith("parquet"):
        pytest.importorskip("pyarrow")
    out = tmp_path_factory.mktemp("packed") / request.param
    result = pack(PackConfig(faces=faces, out=out), Silent())
    assert (result.faces, result.people, result.unnamed) == (30, 6, 0)
    assert all(path.is_file() for path in result.files)
    return out.parent if request.param.endswith("tar") else out


def test_a_container_has_the_faces_of_its_folder(faces: Path, packed: Path) -> None:
    assert is_face_set(packed)
    folder, container = open_faces(faces), open_face_set(packed)
    assert list(container.paths) == list(folder.paths)
    assert list(container.identities) == list(folder.identities)
    assert [container.read(n) for n in range(30)] == [folder.read(n) for n in range(30)]
    assert (container.fingerprint.template, container.fingerprint.size) == ("arcface", 32)


def test_training_from_a_container_gives_the_same_weights(faces: Path, packed: Path, tmp_path: Path) -> None:
    digests = set()
    for name, data in (("folder", faces), ("container", packed)):
        config = CenterConfig(
            data=(data,), out=tmp_path / name, backbone="test_resnet", image_size=32, embedding_dim=16, batch_size=8,
            epochs=1, precision="32", hold_out=0.2,
        )  # fmt: skip
        digests.add(digest_file(train(config, Silent()).encoder / "weights.safetensors"))
    assert len(digests) == 1


def test_a_split_of_a_container_is_that_of_its_folder(faces: Path, packed: Path, tmp_path: Path) -> None:
    for name, source in (("folder", faces), ("container", packed)):
        result = split(SplitConfig(faces=source, out=tmp_path / name), Silent())
        assert result.audit.unreadable == 0
    parts = [
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.png")}
        for name in ("folder", "container")
    ]
    assert parts[0] == parts[1] and len(parts[0]) == 30


def test_info_describes_a_container(packed: Path) -> None:
    result = info(InfoConfig(path=packed), Silent())
    assert result.kind == "container"
    assert (result.about["pictures"], result.about["people"], result.about["unnamed"]) == (30, 6, 0)
    assert result.about["sizes"] == {"32x32": 30}
    assert result.about["pictures_per_person"] == {"min": 5, "median": 5, "max": 5}


def test_embeddings_of_a_container_have_names_and_survive_an_update(tmp_path: Path) -> None:
    crops = make_crops(tmp_path / "crops.rec")
    out = tmp_path / "a.h5"
    assert embed(EmbedConfig(faces=crops, model="pixels", out=out), Silent()).faces == 6
    store = read_store(out)
    assert store.paths[:2] == ("0000000/00000000.jpg", "0000000/00000001.jpg")
    assert store.identities[-1] == "0000002"
    again = embed(EmbedConfig(faces=crops, model="pixels", out=out), Silent())
    assert (again.faces, again.embedded) == (6, 0)


def make_crops(path: Path, side: int = 112) -> Path:
    rng = np.random.default_rng(0)
    with RecordWriter(path, path.with_suffix(".idx")) as writer:
        for key in range(6):
            picture = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (side, side))
            writer.write(key, key // 2, cv2.imencode(".jpg", picture)[1].tobytes())
    return path


def test_prepare_takes_a_container_and_records_what_is_damaged(tmp_path: Path) -> None:
    """A damaged record is a row of the ledger, not the end."""
    with RecordWriter(tmp_path / "p.rec", tmp_path / "p.idx") as writer:
        for key, content in enumerate([b"no picture", *map(crop_bytes, range(4))]):
            writer.write(key, key // 2, content)
    config = PrepareConfig(
        source=tmp_path / "p.rec", out=tmp_path / "faces", detector="none", assume="arcface", max_bad=0.5, size=64
    )
    result = prepare(config, Silent())
    assert result.faces == 4
    assert list(open_faces(tmp_path / "faces").people) == ["0000000", "0000001", "0000002"]
    assert result.reasons and sum(result.reasons.values()) == 1


def crop_bytes(seed: int) -> bytes:
    picture = cv2.resize(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8), (64, 64))
    return bytes(cv2.imencode(".png", picture)[1])


def test_photographs_in_a_container_are_not_taken_for_crops(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "p.rec", tmp_path / "p.idx") as writer:
        for key, shape in enumerate([(40, 60), (60, 40)]):
            writer.write(key, 0, cv2.imencode(".png", np.zeros((*shape, 3), np.uint8))[1].tobytes())
    assert not is_face_set(tmp_path / "p.rec")
    with pytest.raises(DataError, match=r"p\.rec: contains photographs, not aligned crops; first run: faceclr prepare"):
        open_face_set(tmp_path / "p.rec")


@pytest.mark.real
def test_square_photographs_are_not_taken_for_aligned_crops(real_data: Path, tmp_path: Path) -> None:
    photos = sorted((real_data / "lfw-view1" / "images").glob("*/*_0001.jpg"))[:24]
    with RecordWriter(tmp_path / "p.rec", tmp_path / "p.idx") as writer:
        for key, photo in enumerate(photos):
            writer.write(key, key, photo.read_bytes())
    with pytest.raises(ConfigError, match=r"these are not ArcFace crops.*; first run: faceclr prepare"):
        open_face_set(tmp_path / "p.rec")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("faces.tar", "name the shards with a number, such as faces-%06d.tar"),
        ("faces.zip", r"the name must end in .rec, -%06d.tar or .parquet"),
        ("there.rec", "already exists"),
        ("other.rec", r"other\.idx: already exists"),
    ],
)
def test_an_output_that_cannot_be_is_refused(out: str, message: str, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "there.rec").touch()
    (tmp_path / "other.idx").touch()
    with pytest.raises(ConfigError, match=message):
        pack(PackConfig(faces=faces, out=tmp_path / out), Silent())
    assert {path.name for path in tmp_path.iterdir()} == {"there.rec", "other.idx"}


def test_insightface_finds_what_it_expects(faces: Path, tmp_path: Path) -> None:
    """Record 0 states where the pictures end, each person has a range, and `property` states people and size."""
    pack(PackConfig(faces=faces, out=tmp_path / "train.rec"), Silent())
    assert (tmp_path / "property").read_text() == "6,32,32\n"
    from tests.core.sources.test_containers import slow_read

    (labels, key, content), *rest = slow_read(tmp_path / "train.rec")
    assert (labels, key, content) == ((31.0, 37.0), 0, b"")
    assert [labels for labels, _, _ in rest[30:]] == [(1.0 + 5 * n, 6.0 + 5 * n) for n in range(6)]
    with open(tmp_path / "train.lst", newline="") as file:
        assert [row[2] for row in csv.reader(file, delimiter="\t")] == list(open_faces(faces).paths)


def test_other_percent_signs_belong_to_the_name_of_a_shard(faces: Path, tmp_path: Path) -> None:
    config = PackConfig(faces=faces, out=tmp_path / "50% [a]-%06d.tar")
    assert [path.name for path in pack(config, Silent()).files] == ["50% [a]-000000.tar"]
    with pytest.raises(ConfigError, match="such shards already exist"):
        pack(config, Silent())


def test_shards_are_what_webdataset_expects(faces: Path, tmp_path: Path) -> None:
    pack(PackConfig(faces=faces, out=tmp_path / "faces-%06d.tar"), Silent())
    with tarfile.open(tmp_path / "faces-000000.tar") as shard:
        names = shard.getnames()
        assert names[:3] == ["00000000.png", "00000000.cls", "00000000.json"]
        picture = shard.extractfile("00000007.png")
        assert picture is not None
        content = io.BytesIO(picture.read()).getvalue()
        label = shard.extractfile("00000007.cls")
        assert label is not None and label.read() == b"1"
    assert content == open_faces(faces).read(7)
