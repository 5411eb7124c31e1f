"""`faceclr pack`: writes faces as a container that other tools read."""

from __future__ import annotations

import glob
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.pack import PackConfig
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.face_folder import FaceFolder
from faceclr_cli.core.sources import parquet_file, record_file
from faceclr_cli.core.sources.record_file import RecordWriter
from faceclr_cli.core.text import display_path

_TAR = ".tar"
_PER_SHARD = 10_000
_PER_GROUP = 100
"""Rows of a group in a Parquet file, as Hugging Face writes pictures. A reader loads one group, 400 KB, for a crop."""
_NUMBER = re.compile(r"%(0\d+)?d")


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """The written container.

    Attributes:
        files: Its files.
        faces: Number of faces.
        people: Number of people.
        unnamed: Number of faces without a name, whose label is -1.
    """

    files: tuple[Path, ...]
    faces: int
    people: int
    unnamed: int

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return {
            "files": list(map(str, self.files)),
            "faces": self.faces,
            "people": self.people,
            "unnamed": self.unnamed,
        }


@dataclass(frozen=True, kw_only=True)
class _Face:
    """A face to write: its place, its encoded crop, its person, the person's label, and its path."""

    place: int
    content: bytes
    identity: str | None
    label: int
    path: str


def pack(config: PackConfig, reporter: Reporter) -> PackResult:
    """Writes faces, as they are encoded, with labels that number the people by name.

    Args:
        config: The options; the suffix of `out` is the format.
        reporter: Receives the progress.

    Raises:
        ConfigError: The suffix is not that of a supported format, or a file exists.
        DataError: The faces cannot be read, a package is missing, or the output cannot be written.
    """
    write = _writer(config.out)
    faces = open_face_set(config.faces)
    label_of = {name: label for label, name in enumerate(faces.people)}

    def read() -> Iterator[_Face]:
        places = track(range(len(faces)), reporter, "packing faces", total=len(faces), unit="faces")
        for place in places:
            identity = faces.identities[place]
            label = -1 if identity is None else label_of[identity]
            yield _Face(place=place, content=faces.read(place), identity=identity, label=label, path=faces.paths[place])

    try:
        files = write(config.out, faces, read())
    except OSError as error:
        raise DataError(f"{display_path(config.out)}: cannot be written ({error.strerror or error})") from error
    unnamed = sum(identity is None for identity in faces.identities)
    return PackResult(files=tuple(files), faces=len(faces), people=len(label_of), unnamed=unnamed)


def _writer(out: Path) -> Callable[[Path, FaceFolder, Iterator[_Face]], list[Path]]:
    suffix = out.suffix.lower()
    if suffix == _TAR:
        if not _NUMBER.search(out.name):
            raise ConfigError(f"-o {display_path(out)}: name the shards with a number, such as {out.stem}-%06d.tar")
        if any(out.absolute().parent.glob(_NUMBER.sub("*", glob.escape(out.name), count=1))):
            raise ConfigError(f"-o {display_path(out)}: such shards already exist; choose another -o, or remove them")
        return _write_shards
    if suffix == record_file.SUFFIX:
        written = [out, *(out.with_suffix(each) for each in (".idx", ".lst"))]
    elif suffix == parquet_file.SUFFIX:
        written = [out]
    else:
        raise ConfigError(f"-o {display_path(out)}: the name must end in .rec, -%06d.tar or .parquet")
    for path in written:
        if path.exists():
            raise ConfigError(f"-o {display_path(path)}: already exists; choose another -o, or remove it")
    return _write_records if suffix == record_file.SUFFIX else _write_parquet


def _write_records(out: Path, faces: FaceFolder, each: Iterator[_Face]) -> list[Path]:
    """Writes insightface's format: record 0 states where the pictures end, and each person has a record of its range.

    The record file is renamed last, so that it never stands without its index.
    """
    index, names, property_file = out.with_suffix(".idx"), out.with_suffix(".lst"), out.parent / "property"
    end, ranges = len(faces) + 1, dict[int, tuple[int, int]]()
    with ExitStack() as stack:
        record = stack.enter_context(atomic_path(out))
        listing = stack.enter_context(open(stack.enter_context(atomic_path(names)), "w", encoding="utf-8"))
        written = stack.enter_context(RecordWriter(record, stack.enter_context(atomic_path(index))))
        written.write(0, (float(end), float(end + len(faces.people))), b"")
        for face in each:
            key = face.place + 1
            written.write(key, float(face.label), face.content)
            listing.write(f"{key}\t{face.label}\t{face.path}\n")
            if face.label >= 0:
                ranges[face.label] = (ranges.get(face.label, (key, 0))[0], key + 1)
        for label, (first, last) in sorted(ranges.items()):
            written.write(end + label, (float(first), float(last)), b"")
    files = [out, index, names]
    if not property_file.exists():
        size = faces.fingerprint.size
        with atomic_path(property_file) as temporary:
            temporary.write_text(f"{len(faces.people)},{size},{size}\n", encoding="ascii")
        files.append(property_file)
    return files


def _write_shards(out: Path, faces: FaceFolder, each: Iterator[_Face]) -> list[Path]:
    """Writes WebDataset's format: the crop, its label (`.cls`), and its person and path (`.json`) under one key."""
    del faces
    files: list[Path] = []
    with ExitStack() as stack:
        # All shards get their final names at the end, so that a killed run leaves none behind.
        for face in each:
            if face.place % _PER_SHARD == 0:
                files.append(out.with_name(_shard_name(out.name, len(files))))
                temporary = stack.enter_context(atomic_path(files[-1]))
                shard = stack.enter_context(tarfile.open(temporary, "w"))
            about: dict[str, object] = {"label": face.label, "path": face.path}
            if face.identity is not None:
                about["identity"] = face.identity
            suffix = record_file.picture_suffix(face.content)
            key = f"{face.place:08d}"
            _add(shard, f"{key}{suffix}", face.content)
            _add(shard, f"{key}.cls", str(face.label).encode())
            _add(shard, f"{key}.json", json.dumps(about).encode())
    return files


def _shard_name(pattern: str, number: int) -> str:
    """Puts the number in place of `%06d`. Other percent signs are part of the name."""
    return _NUMBER.sub(lambda found: found.group() % number, pattern, count=1)


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    shard.addfile(member, io.BytesIO(content))


def _write_parquet(out: Path, faces: FaceFolder, each: Iterator[_Face]) -> list[Path]:
    """Writes the format of Hugging Face's datasets: `image{bytes,path}` and `label`, with the names of the labels."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError("writing Parquet files needs pyarrow; run: pip install 'faceclr[parquet]'") from error
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(faces.people)},
    }
    picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema(
        [("image", picture), ("label", arrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    # The statistics of a group would contain two of its pictures.
    with (
        atomic_path(out) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="none", write_statistics=False) as writer,
    ):
        rows: list[_Face] = []

        def flush() -> None:
            columns = {
                "image": [{"bytes": face.content, "path": face.path} for face in rows],
                "label": [face.label for face in rows],
            }
            writer.write_table(arrow.Table.from_pydict(columns, schema=schema))
            rows.clear()

        for face in each:
            rows.append(face)
            if len(rows) == _PER_GROUP:
                flush()
        if rows:
            flush()
    return [out]
