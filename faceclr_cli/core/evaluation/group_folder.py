"""Groups of faces as a folder of links, one sub-folder for each group."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from faceclr_cli.core.artifacts import atomic_path, stamp, write_json
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.datasets.folder import DESCRIPTION, NOBODY, is_face_folder, open_faces
from faceclr_cli.core.datasets.summary import summarise
from faceclr_cli.core.datasets.trees import leads_out
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.cluster_source import Faces
from faceclr_cli.core.evaluation.clustered import ClusterResult
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.reasons import shown

CLUSTER, ROWS = "cluster.json", "faces.jsonl"


def require_free(out: Path, pictures: Path) -> None:
    """Refuses, before any work, a folder that cannot be written or would overwrite something.

    Args:
        out: The folder to be.
        pictures: The folder of those that it shall link to.

    Raises:
        ConfigError: It is there already, lies among the pictures, or these are in no folder.
        DataError: There are no such pictures.
    """
    if not pictures.is_dir():
        if is_store(pictures):
            raise ConfigError("-o links to pictures, and a store has none: name the folder that was embedded, --faces")
        if not pictures.exists() and str(pictures) != "-":
            raise DataError(f"{shown(pictures)}: no such folder")
        raise ConfigError(f"{shown(pictures)}: -o links to pictures in a folder, and this is none; leave -o out")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{shown(out)}: is there already; choose another -o, or remove it")
    if out.resolve().is_relative_to(pictures.resolve()):
        raise ConfigError(f"{shown(out)}: lies inside the pictures; choose another -o")


def write_groups(config: ClusterConfig, found: Faces, result: ClusterResult, reporter: Reporter) -> int:
    """Writes `OUT/0001/...` for each group, `OUT/_/...` for singles, and what each face and the groups are.

    A picture is linked under its own name; of a photograph with several faces, under one that says which face, and of
    several pictures of one name in a group, the later ones with a number. Groups of prepared faces are prepared faces
    again.

    Args:
        config: What was asked for.
        found: The faces.
        result: Their groups.
        reporter: Told of every face, and of pictures that are not there.

    Returns:
        How many pictures were not there to be linked.

    Raises:
        DataError: None of the pictures is there, one is not below the folder, or the output cannot be written.
    """
    out, root = config.out or Path(), config.faces or config.source or Path()
    missing = []
    links = list(_links(result))
    try:
        with atomic_path(out) as folder:
            lines = []
            for face, (path, target) in zip(
                result.faces, track(links, reporter, "linking faces", total=len(links), unit="faces"), strict=True
            ):
                is_there = _link(root / path, folder / target)
                lines.append(face.to_json() | {"link": target if is_there else None})
                if not is_there:
                    missing.append(path)
            if len(missing) == len(links):
                raise DataError(f"{shown(root)}: has none of the pictures; the first is {shown(missing[0])}")
            with open(folder / ROWS, "w", encoding="ascii") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            if is_face_folder(root):
                _describe(folder, root, result, config)
            about = {"fingerprint": found.fingerprint.to_json(), "encoder_digest": found.encoder.digest}
            content = result.to_json() | {"out": str(out), "missing": len(missing)}
            write_json(folder / CLUSTER, {**stamp("groups", to_json(config)), **about, **content})
    except OSError as error:
        raise DataError(f"{shown(error.filename or out)}: cannot be written ({error.strerror or error})") from error
    if missing:
        text = f"{len(missing)} of {len(links)} pictures are not in {shown(root)} (first: {shown(missing[0])})"
        reporter.report(Notice(text=text, level="warning"))
    return len(missing)


def _describe(folder: Path, root: Path, result: ClusterResult, config: ClusterConfig) -> None:
    """Makes groups of prepared faces prepared faces again, which can be trained on: each group is a person."""
    people = (None if face.group is None else str(face.group) for face in result.faces)
    summary = asdict(summarise([face.path for face in result.faces], people))
    about = {"fingerprint": open_faces(root).fingerprint.to_json(), **summary}
    write_json(folder / DESCRIPTION, {**stamp("faces", to_json(config)), **about})


def _links(result: ClusterResult) -> Iterator[tuple[str, str]]:
    """Each face's picture, and where its link goes."""
    digits = max(4, len(str(len(result.groups))))
    counts = Counter(face.path for face in result.faces)
    taken = set[str]()
    for face in result.faces:
        if leads_out(face.path):  # Anybody may have made a store.
            raise DataError(f"{shown(face.path)}: leads out of the folder of pictures")
        name = PurePosixPath(PurePosixPath(face.path).name)
        stem = f"{name.stem}-face{face.face}" if counts[face.path] > 1 else name.stem
        folder = NOBODY if face.group is None else f"{face.group:0{digits}d}"
        target, number = f"{folder}/{stem}{name.suffix}", 1
        while target.lower() in taken:
            number += 1
            target = f"{folder}/{stem}-{number}{name.suffix}"
        taken.add(target.lower())
        yield face.path, target


def _link(source: Path, target: Path) -> bool:
    """Whether the picture was there."""
    # A link to a link would lead nowhere from another folder.
    source = Path(os.path.realpath(source))
    if not source.is_file():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links, or too many of them.
        shutil.copyfile(source, target)
    return True
