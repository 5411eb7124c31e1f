"""Damaged and hostile containers: a reason of one line for each, no crash, no unbounded memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.datasets.pack import pack
from faceclr_cli.core.events import Silent
from tests.core.training.toy import make_faces

MUTATIONS = 20  # of each form

_READER = """
import json, resource, sys
from pathlib import Path
import numpy as np
from faceclr_cli.core.datasets.face_sets import is_face_set, open_face_set
from faceclr_cli.core.datasets.joined_faces import join
from faceclr_cli.core.datasets.packed_faces import stream
from faceclr_cli.core.datasets.streamed_crops import decode_crops
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.faces.decode import decode_picture
from faceclr_cli.core.sources.archive import Archive
from faceclr_cli.core.sources.containers import open_container
import pyarrow.parquet

def stream_all(path):
    return join([(path, stream(open_face_set(path)))])

ends = {}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    outcomes = []
    for attempt in (open_container, open_face_set):
        try:
            opened = attempt(path)
        except (ConfigError, DataError) as error:
            outcomes.append("refused: " + str(error))
            continue
        outcomes.append("opened")
        for place in range(len(opened)):
            try:
                decode_picture(opened.read(place), "a picture")
            except DataError as error:
                outcomes.append("bad: " + str(error))
    try:
        faces = stream_all(path)
        for start in range(0, len(faces), 8):
            ((_, request),) = faces.requests(np.arange(start, min(start + 8, len(faces))))
            outcomes += [f"bad: {reason}" for _, reason in decode_crops(request).failures]
        outcomes.append("streamed")
    except (ConfigError, DataError) as error:
        outcomes.append("refused: " + str(error))
    ends[str(path)] = outcomes
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([(peak - before) / 1024, ends]))
"""


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same faces in each form."""
    pytest.importorskip("pyarrow")
    root = tmp_path_factory.mktemp("forms")
    faces = make_faces(root / "faces", 4, 4)
    outs = {"rec": root / "a.rec", "tar": root / "shards" / "a-%06d.tar", "parquet": root / "a.parquet"}
    for out in outs.values():
        pack(PackConfig(faces=faces, out=out), Silent())
    return outs | {"tar": root / "shards" / "a-000000.tar"}


def mutated(content: bytes, number: int) -> bytes:
    """Bytes turned over, zeroed, repeated or cut off, at places that depend on the number alone."""
    rng = np.random.default_rng(number)
    data = bytearray(content)
    start = int(rng.integers(0, len(data)))
    match number % 5:
        case 0:
            for place in rng.integers(0, len(data), 8):
                data[place] ^= 1 << int(rng.integers(0, 8))
        case 1:
            data[start : start + 512] = bytes(len(data[start : start + 512]))
        case 2:
            del data[start:]
        case 3:
            data[start : start + 4] = struct.pack("<I", int(rng.choice([0, 2**29 - 1, 2**31, 2**32 - 1])))
        case _:
            data[start:start] = data[: int(rng.integers(1, 3000))]
    return bytes(data)


def outcomes(*paths: Path) -> tuple[float, dict[str, list[str]]]:
    """Returns the outcome of each container, and the growth of the reading process's memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", _READER, *map(str, paths)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    growth, ends = json.loads(done.stdout.splitlines()[-1])
    return growth, ends


def test_mutated_containers_are_refused_or_read_in_part(forms: dict[str, Path], tmp_path: Path) -> None:
    paths = []
    for form, path in forms.items():
        content = path.read_bytes()
        for number in range(MUTATIONS):
            folder = tmp_path / f"{form}-{number:02d}"
            folder.mkdir()
            (folder / path.name).write_bytes(mutated(content, number))
            if form == "rec":
                (folder / "a.idx").write_bytes(path.with_suffix(".idx").read_bytes())
            # A folder of shards or tables, or the file itself.
            paths.append(folder if form == "tar" or (form == "parquet" and number % 2) else folder / path.name)
    growth, ends = outcomes(*paths)
    assert len(ends) == 3 * MUTATIONS and growth < 1024
    texts = [text for each in ends.values() for text in each]
    assert all("\n" not in text for text in texts)
    assert sum(text.startswith("refused") for text in texts) >= 10
    assert sum(text.startswith("bad") for text in texts) >= 10
    assert sum(text == "streamed" for text in texts) >= 10


def test_mutated_databases_are_refused_or_read_in_part(tmp_path: Path) -> None:
    """LMDB itself ends the process at a damaged page, or at one that is missing."""
    lmdb = pytest.importorskip("lmdb")
    picture = (make_faces(tmp_path / "faces", 1, 1) / "person_000" / "0.png").read_bytes()
    whole = tmp_path / "whole.lmdb"
    with (
        lmdb.open(str(whole), subdir=False, map_size=2**22) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number in range(100):
            transaction.put(b"%d" % number, b"\x92\xc5" + struct.pack(">H", len(picture)) + picture + b"\x01")
    paths = []
    for number in (0, 2, 4, 7, 19):
        paths.append(tmp_path / f"{number:02d}.lmdb")
        paths[-1].write_bytes(mutated(whole.read_bytes(), number))
    growth, ends = outcomes(*paths)
    assert len(ends) == 5 and growth < 1024
    assert all("\n" not in text for each in ends.values() for text in each)
    assert all(text.startswith("refused") for number in (2, 7) for text in ends[str(tmp_path / f"{number:02d}.lmdb")])


def test_a_record_of_a_billion_bytes_does_not_take_a_billion(tmp_path: Path) -> None:
    """The file is as long as it says, but sparse; with and without an index, whole and in parts."""
    paths = []
    for name, words in (("whole", [0x20000000 - 1]), ("parts", [1 << 29 | 0x20000000 - 4, 2 << 29 | 0x20000000 - 4])):
        path = tmp_path / f"{name}.rec"
        with open(path, "wb") as file:
            for word in words:
                file.write(struct.pack("<II", 0xCED7230A, word))
                file.write(struct.pack("<IfQQ", 0, 1.0, 1, 0))
                file.seek(((word & 0x1FFFFFFF) + 3) // 4 * 4 - 24, 1)
            file.truncate()
        paths.append(path)
    growth, ends = outcomes(*paths)
    assert growth < 1300  # one picture of the largest size that is read: 512 MiB, and its copy
    assert all(any(text.startswith(("refused", "bad")) for text in each) for each in ends.values())
