"""Groups of faces as a folder of links, one sub-folder for each group."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from faceclr_cli.core.artifacts import atomic_path, stamp, write_json
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.datasets.splitting.split import summarize_part
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, UNNAMED, is_face_folder, open_faces
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.text import display_path

CLUSTER, ROWS = "cluster.json", "faces.jsonl"
NO_FACE = f"{UNNAMED}/no-face"
"""Below the folder of singles, since that is nobody's wherever folders are people."""


def require_free(out: Path, faces: Path | None, source: Path) -> None:
    """Refuses, before any work, a folder that cannot be written or would overwrite something.

    Args:
        out: The folder to be.
        faces: The folder of the pictures that it shall link to, where it was named.
        source: The pictures or the store; a list on standard input names pictures anywhere.

    Raises:
        ConfigError: It is there already, lies among the pictures, or these are in no folder.
        DataError: There are no such pictures.
    """
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise ConfigError(f"{display_path(out)}: is there already; choose another -o, or remove it")
    if faces is None and source == STANDARD_INPUT:
        return
    pictures = faces or source
    if not pictures.is_dir():
        if is_store(pictures):
            raise ConfigError("-o links to pictures, and a store has none: name the folder that was embedded, --faces")
        if not pictures.exists():
            raise DataError(f"{display_path(pictures)}: no such folder")
        raise ConfigError(f"{display_path(pictures)}: -o links to pictures in a folder, and this is none; leave -o out")
    if out.resolve().is_relative_to(pictures.resolve()):
        raise ConfigError(f"{display_path(out)}: lies inside the pictures; choose another -o")


def write_groups(config: ClusterConfig, found: FaceCollection, result: ClusterResult, reporter: Reporter) -> int:
    """Writes `OUT/0001/...` for each group, `OUT/_/...` for singles, and what each face and the groups are.

    Pictures without a face are linked in `OUT/_/no-face`, so that each has a place. Damaged crops have none: what is
    prepared faces holds nothing else.

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
    prepared = is_face_folder(root)
    if config.faces is None and root == STANDARD_INPUT:
        root = Path()  # Its paths are those that the user gave.
    else:
        _require_inside(result)
    missing = []
    links = list(_links(result, () if prepared else found.faceless))
    try:
        with atomic_path(out) as folder:
            made = list[str | None]()
            for path, target in track(links, reporter, "linking faces", total=len(links), unit="faces"):
                is_there = _link(root / path, folder / target)
                made.append(target if is_there else None)
                if not is_there:
                    missing.append(path)
            if len(missing) == len(links):
                raise DataError(
                    f"{display_path(root)}: has none of the pictures; the first is {display_path(missing[0])}"
                )
            with open(folder / ROWS, "w", encoding="ascii") as file:
                # Links of pictures without a face come last and are in no row.
                for face, link in zip(result.faces, made, strict=False):
                    file.write(json.dumps(face.to_json() | {"link": link}) + "\n")
            if prepared:
                _describe(folder, root, result, config)
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


def _describe(folder: Path, root: Path, result: ClusterResult, config: ClusterConfig) -> None:
    """Makes groups of prepared faces prepared faces again, which can be trained on: each group is a person."""
    people = (None if face.group is None else str(face.group) for face in result.faces)
    summary = asdict(summarize_part([face.path for face in result.faces], people))
    about = {"fingerprint": open_faces(root).fingerprint.to_json(), **summary}
    write_json(folder / DESCRIPTION, {**stamp("faces", to_json(config)), **about})


def _require_inside(result: ClusterResult) -> None:
    outside = next((face.path for face in result.faces if leads_out(face.path)), None)
    if outside is not None:  # Anybody may have made a store.
        raise DataError(f"{display_path(outside)}: leads out of the folder of pictures")


def _links(result: ClusterResult, faceless: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The picture of each face, and those without one, and where the link to it goes."""
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
    """The picture's own name in a folder, with a number where another has it."""
    name = PurePosixPath(PurePosixPath(path).name)
    target, copy = f"{folder}/{name.stem}{number}{name.suffix}", 1
    while target.lower() in taken:
        copy += 1
        target = f"{folder}/{name.stem}{number}-{copy}{name.suffix}"
    taken.add(target.lower())
    return target


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
