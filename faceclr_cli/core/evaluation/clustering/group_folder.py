"""The output folder of `faceclr cluster`: a sub-folder of links for each group."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path

from faceclr_cli.core.artifacts import atomic_path, exclusive, read_json, stamp, write_json
from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.datasets.face_sets import find_face_set
from faceclr_cli.core.datasets.splitting.split import summarize_part
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.clustering.cluster_result import ClusterResult
from faceclr_cli.core.evaluation.clustering.face_collection import FaceCollection
from faceclr_cli.core.evaluation.clustering.folder_corrections import Corrected, adopt_folder, read_corrections
from faceclr_cli.core.evaluation.clustering.group_memory import MEMORY, GroupMemory, read_memory, write_memory
from faceclr_cli.core.evaluation.clustering.review_answers import apply_answers
from faceclr_cli.core.evaluation.clustering.review_questions import QUESTIONS, read_questions
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, FaceFolder
from faceclr_cli.core.sources.archive import is_archive
from faceclr_cli.core.sources.file_trees import leads_out
from faceclr_cli.core.sources.layouts import photo_reader
from faceclr_cli.core.sources.output_folders import GROUPS
from faceclr_cli.core.text import display_path

CLUSTER, ROWS = GROUPS, "faces.jsonl"


def require_free(config: ClusterConfig) -> None:
    """Checks that the output folder can be written or updated. Call it before embedding.

    Raises:
        ConfigError: The output folder exists and has no groups that can be updated, or is inside the pictures, or the
            pictures are not in a folder.
        DataError: The folder of pictures does not exist.
    """
    out, faces, source = config.out or Path(), config.faces, config.source or Path()
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        if not (out / MEMORY).is_file() and not is_own_gallery(config):
            raise ConfigError(f"{display_path(out)}: already exists; choose another -o, or remove it")
        if config.method == "hdbscan":
            text = "has groups, and --method hdbscan cannot update them; choose another -o"
            raise ConfigError(f"{display_path(out)}: {text}")
        _require_same_pictures(out, faces or source)
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


def _require_same_pictures(out: Path, pictures: Path) -> None:
    """Checks that the folder has the groups of these pictures; pictures of another folder would count as deleted."""
    former = read_json(out / CLUSTER).get("config") if (out / CLUSTER).is_file() else None
    named = (former.get("faces") or former.get("source")) if isinstance(former, dict) else None
    place = Path(named) if isinstance(named, str) and "\0" not in named else None
    if place is not None and place.is_dir() and pictures.is_dir() and not place.samefile(pictures):
        text = f"has the groups of {display_path(place)}, not of {display_path(pictures)}; choose another -o"
        raise ConfigError(f"{display_path(out)}: {text}")


def is_own_gallery(config: ClusterConfig) -> bool:
    """Returns True if the people in the output folder are the gallery."""
    out, gallery = config.out, config.gallery
    return out is not None and gallery is not None and gallery.is_dir() and out.resolve() == gallery.resolve()


@contextmanager
def open_groups(config: ClusterConfig) -> Iterator[Corrected | None]:
    """Locks a folder of groups and reads the corrections and answers in it; yields None if there is no such folder yet.

    Raises:
        DataError: Its memory is damaged, or an answer is not one of those that its question allows.
        LockedError: Another run is updating it.
    """
    out = config.out
    if out is None or not ((out / MEMORY).is_file() or is_own_gallery(config)):
        yield None
        return
    with exclusive(out):
        memory = read_memory(out) if (out / MEMORY).is_file() else adopt_folder(out)
        # The answers are read first, so that an invalid one is reported before anything is embedded.
        questions = read_questions(out / QUESTIONS) if (out / QUESTIONS).is_file() else ()
        yield apply_answers(read_corrections(out, memory), [face.link for face in memory.faces], questions)


def write_groups(
    config: ClusterConfig,
    found: FaceCollection,
    result: ClusterResult,
    plan: GroupMemory,
    *,
    is_update: bool,
    reporter: Reporter,
) -> ClusterResult:
    """Writes links in `OUT/0001/...` for each group and `OUT/_/...` for single faces, the result, and the memory.

    Pictures without a face are linked in `OUT/_/no-face`. Damaged crops are not linked, since a folder of prepared
    faces must not contain other files. If the pictures are prepared faces, so is the output folder.

    A new folder appears as a whole. In an existing one, the memory is written before links are moved, so that an
    interrupted run does not look like a correction of the user, and the same command completes it.

    Args:
        config: The options.
        found: The faces.
        result: The groups.
        plan: The links; see `plan_links`.
        is_update: True if the folder exists.
        reporter: Receives the progress and a warning about missing pictures.

    Returns:
        The result with the folder and the number of missing pictures.

    Raises:
        DataError: All pictures of a new folder are missing, a picture is outside the folder, or the output cannot be
            written.
    """
    out, root = config.out or Path(), config.faces or config.source or Path()
    faces = find_face_set(root)
    if config.faces is None and root == STANDARD_INPUT:
        root = Path()  # Paths on standard input are relative to the working directory.
    else:
        _require_inside(result)
    about = stamp("memory", to_json(config))
    try:
        with nullcontext(out) if is_update else atomic_path(out) as folder, _picture_copier(root) as place:
            if is_update:
                write_memory(folder, about, plan)
            plan, missing = _place_links(folder, plan, place, reporter)
            if len(missing) == len(plan.faces) + len(plan.faceless) and not is_update:
                raise DataError(
                    f"{display_path(root)}: contains none of the pictures (first: {display_path(missing[0])})"
                )
            with atomic_path(folder / ROWS) as temporary, open(temporary, "w", encoding="ascii") as file:
                # Faces whose pictures no longer exist come last and have no row.
                for face, planned in zip(result.faces, plan.faces, strict=False):
                    file.write(json.dumps(face.to_json() | {"link": planned.link}) + "\n")
            if faces is not None:
                _describe(folder, faces, result, config)
            result = replace(result, out=out, missing=len(missing))
            made = {"fingerprint": found.fingerprint.to_json(), "encoder_digest": found.encoder.digest}
            write_json(folder / CLUSTER, {**stamp("groups", to_json(config)), **made, **result.to_json()})
            write_memory(folder, about, plan)
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error
    if missing:
        text = f"{len(missing)} pictures are not in {display_path(root)} (first: {display_path(missing[0])})"
        reporter.report(Notice(text=text, level="warning"))
    return result


def _place_links(
    folder: Path, plan: GroupMemory, place: Callable[[str, Path], bool], reporter: Reporter
) -> tuple[GroupMemory, list[str]]:
    """Creates and moves links; returns the resulting memory, and the missing pictures."""
    missing, faces = [], list(plan.faces)
    todo = [(number, face) for number, face in enumerate(faces) if face.moving and face.link is not None]
    emptied = set[Path]()
    for number, face in track(todo, reporter, "linking faces", total=len(todo), unit="faces"):
        target = folder / str(face.link)
        is_there = True
        if face.was is not None and (folder / face.was).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / face.was).rename(target)
            emptied.add((folder / face.was).parent)
        elif not target.is_file():
            is_there = place(face.path, target)
        if not is_there:
            missing.append(face.path)
        faces[number] = replace(face, link=face.link if is_there else None, moving=False, was=None)
    faceless = dict(plan.faceless)
    for path, link in faceless.items():
        if link is not None and not (folder / link).is_file() and not place(path, folder / link):
            missing.append(path)
            faceless[path] = None
    for empty in sorted(emptied):
        with suppress(OSError):  # The folder has other files.
            if empty != folder:
                empty.rmdir()
    return replace(plan, faces=tuple(faces), faceless=faceless), missing


def _describe(folder: Path, faces: FaceFolder, result: ClusterResult, config: ClusterConfig) -> None:
    """Describes the output as prepared faces, with each group as a person, so that it can be used for training."""
    people = (None if face.group is None else str(face.group) for face in result.faces)
    summary = asdict(summarize_part([face.path for face in result.faces], people))
    about = {"fingerprint": faces.fingerprint.to_json(), **summary}
    write_json(folder / DESCRIPTION, {**stamp("faces", to_json(config)), **about})


def _require_inside(result: ClusterResult) -> None:
    outside = next((face.path for face in result.faces if leads_out(face.path)), None)
    if outside is not None:  # The paths in a store are untrusted.
        raise DataError(f"{display_path(outside)}: is outside the folder of pictures")


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
