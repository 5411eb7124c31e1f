"""The output folder of `faceclr cluster`: a sub-folder of links for each group."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from faceclr_cli.core.artifacts import atomic_path, stamp, write_json
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.datasets.face_sets import find_face_set
from faceclr_cli.core.datasets.splitting.split import summarize_part
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, UNNAMED, FaceFolder
from faceclr_cli.core.sources.archive import is_archive
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.layouts import photo_reader
from faceclr_cli.core.sources.output_folders import GROUPS
from faceclr_cli.core.text import display_path

CLUSTER, ROWS = GROUPS, "faces.jsonl"
NO_FACE = f"{UNNAMED}/no-face"
"""Inside the folder of single faces, which is not read as a person."""


def require_free(out: Path, faces: Path | None, source: Path) -> None:
    """Checks that the output folder can be written. Call it before embedding.

    Args:
        out: The output folder.
        faces: The folder of pictures to link to, or None to use `source`.
        source: The pictures or the store; a list on standard input may name pictures anywhere.

    Raises:
        ConfigError: The output folder exists or is inside the pictures, or the pictures are not in a folder.
        DataError: The folder of pictures does not exist.
    """
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{display_path(out)}: already exists; choose another -o, or remove it")
    if faces is None and source == STANDARD_INPUT:
        return
    pictures = faces or source
    if not pictures.is_dir() and not is_archive(pictures):
        if is_store(pictures):
            raise ConfigError("-o links to pictures, and a store has none; pass the embedded folder with --faces")
        if not pictures.exists():
            raise DataError(f"{display_path(pictures)}: no such folder")
        raise ConfigError(f"{display_path(pictures)}: -o needs a folder or an archive of pictures; omit -o")
    if out.resolve().is_relative_to(pictures.resolve()):
        raise ConfigError(f"{display_path(out)}: is inside the folder of pictures; choose another -o")


def write_groups(config: ClusterConfig, found: FaceCollection, result: ClusterResult, reporter: Reporter) -> int:
    """Writes links in `OUT/0001/...` for each group and `OUT/_/...` for single faces, and the two result files.

    Pictures without a face are linked in `OUT/_/no-face`. Damaged crops are not linked, since a folder of prepared
    faces must not contain other files.

    A link has the name of its picture. The number of the face is appended if the photograph has several faces, and a
    counter if the name is already taken. If the pictures are prepared faces, so is the output folder.

    Args:
        config: The options.
        found: The faces.
        result: The groups.
        reporter: Receives the progress and a warning about missing pictures.

    Returns:
        The number of missing pictures.

    Raises:
        DataError: All pictures are missing, a picture is outside the folder, or the output cannot be written.
    """
    out, root = config.out or Path(), config.faces or config.source or Path()
    faces = find_face_set(root)
    if config.faces is None and root == STANDARD_INPUT:
        root = Path()  # Paths on standard input are relative to the working directory.
    else:
        _require_inside(result)
    missing = []
    links = list(_links(result, () if faces is not None else found.faceless))
    try:
        with atomic_path(out) as folder, _picture_copier(root) as place:
            made = list[str | None]()
            for path, target in track(links, reporter, "linking faces", total=len(links), unit="faces"):
                is_there = place(path, folder / target)
                made.append(target if is_there else None)
                if not is_there:
                    missing.append(path)
            if len(missing) == len(links):
                raise DataError(
                    f"{display_path(root)}: contains none of the pictures (first: {display_path(missing[0])})"
                )
            with open(folder / ROWS, "w", encoding="ascii") as file:
                # Pictures without a face come last and have no row.
                for face, link in zip(result.faces, made, strict=False):
                    file.write(json.dumps(face.to_json() | {"link": link}) + "\n")
            if faces is not None:
                _describe(folder, faces, result, config)
            about = {"fingerprint": found.fingerprint.to_json(), "encoder_digest": found.encoder.digest}
            content = result.to_json() | {"out": str(out), "missing": len(missing)}
            write_json(folder / CLUSTER, {**stamp("groups", to_json(config)), **about, **content})
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error
    if missing:
        text = (
            f"{len(missing)} of {len(links)} pictures are not in {display_path(root)} (first: "
            f"{display_path(missing[0])})"
        )
        reporter.report(Notice(text=text, level="warning"))
    return len(missing)


def _describe(folder: Path, faces: FaceFolder, result: ClusterResult, config: ClusterConfig) -> None:
    """Makes the output a folder of prepared faces, with each group as a person, so that it can be used for training."""
    people = (None if face.group is None else str(face.group) for face in result.faces)
    summary = asdict(summarize_part([face.path for face in result.faces], people))
    about = {"fingerprint": faces.fingerprint.to_json(), **summary}
    write_json(folder / DESCRIPTION, {**stamp("faces", to_json(config)), **about})


def _require_inside(result: ClusterResult) -> None:
    outside = next((face.path for face in result.faces if leads_out(face.path)), None)
    if outside is not None:  # The paths in a store are untrusted.
        raise DataError(f"{display_path(outside)}: is outside the folder of pictures")


def _links(result: ClusterResult, faceless: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the path of each picture and of the link to it: first all faces, then the pictures without a face."""
    digits = max(4, len(str(len(result.groups))))
    counts = Counter(face.path for face in result.faces)
    taken = set[str]()
    for face in result.faces:
        folder = UNNAMED if face.group is None else f"{face.group:0{digits}d}"
        number = f"-face{face.face}" if counts[face.path] > 1 else ""
        yield face.path, _free_name(folder, face.path, number, taken)
    for path in faceless:
        yield path, _free_name(NO_FACE, path, "", taken)


def _free_name(folder: str, path: str, number: str, taken: set[str]) -> str:
    """The name of the picture in a folder, with a counter if the name is already taken."""
    name = PurePosixPath(PurePosixPath(path).name)
    target, copy = f"{folder}/{name.stem}{number}{name.suffix}", 1
    while target.lower() in taken:
        copy += 1
        target = f"{folder}/{name.stem}{number}-{copy}{name.suffix}"
    taken.add(target.lower())
    return target


@contextmanager
def _picture_copier(root: Path) -> Iterator[Callable[[str, Path], bool]]:
    """Yields a function that links or copies a picture to a path; it returns False if the picture does not exist."""
    if not is_archive(root):
        yield lambda path, target: _link(root / path, target)
        return
    with photo_reader(root) as read:

        def write(path: str, target: Path) -> bool:
            try:
                content = read(path)
            except DataError:
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            return True

        yield write


def _link(source: Path, target: Path) -> bool:
    """Links or copies a picture; returns False if it does not exist."""
    # A hard link to a relative symbolic link would be broken in another folder.
    source = Path(os.path.realpath(source))
    if not source.is_file():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # The target is on another file system, links are not supported, or there are too many.
        shutil.copyfile(source, target)
    return True
