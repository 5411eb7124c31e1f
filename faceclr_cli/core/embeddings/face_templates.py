"""Templates of the faces of a store: which faces belong together, and how they are pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.quality import MEASURES
from faceclr_cli.core.configs.templates import TemplateMethod
from faceclr_cli.core.datasets.pairs.template_lists import TemplateList, read_template_lists
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.quality_columns import quality_measure
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import UNNAMED
from faceclr_cli.core.metrics.template_vectors import TemplateVectors, pool_templates
from faceclr_cli.core.sources.picture_names import PictureNames
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceTemplates:
    """The templates of the faces of a store.

    Attributes:
        names: Name of each template.
        people: The person of each template, or None if unknown.
        vectors: The vectors of the templates; a template whose pictures are all missing has none.
        rows: Rows of the pictures of each template.
        absent: Number of listed pictures that the store does not contain.
    """

    names: Sequence[str]
    people: Sequence[str | None]
    vectors: TemplateVectors
    rows: Sequence[NDArray[np.int64]]
    absent: int = 0

    def take(self, chosen: NDArray[np.int64]) -> FaceTemplates:
        """Returns the templates with the given indices, in their order. Shape: (templates,)."""
        return FaceTemplates(
            names=[self.names[number] for number in chosen],
            people=[self.people[number] for number in chosen],
            vectors=self.vectors.take(chosen),
            rows=[self.rows[number] for number in chosen],
            absent=self.absent,
        )

    def enrolled(self) -> FaceTemplates:
        """Returns the templates with one or more pictures."""
        return self.take(np.flatnonzero(self.vectors.sizes))


def group_faces(
    rows: Rows, lists: Sequence[Path], method: TemplateMethod, origin: str, reporter: Reporter
) -> FaceTemplates:
    """Groups the faces of a store to templates.

    Args:
        rows: The faces, with one row for each picture.
        lists: Lists of the pictures of templates. Without one, the pictures of each folder are a template with the path
            of the folder as its name.
        method: How the faces of a template are pooled. With `max`, the pictures of each medium are pooled, and its
            media are kept.
        origin: Name of the store in messages.
        reporter: Receives a warning about listed pictures that the store does not contain.

    Raises:
        DataError: A list cannot be read, none of its pictures is in the store, a template has pictures of several
            people, or the store lacks the data for the method.
    """
    given = read_template_lists(lists) if lists else _list_folders(rows)
    row_of = {path: row for row, path in enumerate(rows.paths)}
    found = find_pictures(rows.paths, given.paths)
    places = np.array([-1 if path is None else row_of[path] for path in found], np.int64)
    known = np.flatnonzero(places >= 0)
    if not len(known):
        raise DataError(
            f"{origin}: contains none of the {count(len(places), 'picture')} of {given.origin}; the first one is "
            f"{display_path(given.paths[0])}, the store contains {display_path(rows.paths[0]) if len(rows) else 'none'}"
        )
    owners = np.array(given.templates, np.int64)
    if len(known) < len(places):
        absent = np.setdiff1d(np.arange(len(places)), known)
        text = (
            f"{origin}: {len(absent)} of {len(places)} pictures of {given.origin} are not in the store (first: "
            f"{display_path(given.paths[absent[0]])})"
        )
        reporter.report(Notice(text=text, level="warning"))
    codes: dict[str, int] = {}
    media = np.array([codes.setdefault(medium, len(codes)) for medium in given.media], np.int64)
    # A line that is listed twice counts once.
    lines = np.stack([owners[known], media[known], places[known]])
    known = known[np.sort(np.unique(lines, axis=1, return_index=True)[1])]
    vectors = pool_templates(
        rows.embeddings,
        owners[known],
        media[known],
        rows=places[known],
        weights=_weights(rows, places[known], origin) if method == "quality" else None,
        count=len(given.names),
        keep_media=method == "max",
    )
    order = known[np.argsort(owners[known], kind="stable")]
    members = np.split(places[order], np.cumsum(np.bincount(owners[known], minlength=len(given.names)))[:-1])
    return FaceTemplates(
        names=given.names,
        people=[_person(rows, given, number, own) for number, own in enumerate(members)],
        vectors=vectors,
        rows=members,
        absent=int((places < 0).sum()),
    )


def find_pictures(names: Sequence[str], paths: Sequence[str]) -> list[str | None]:
    """Returns the actual name of each picture in a list of templates, or None if there is none."""
    known = PictureNames(names)
    # `prepare` moves pictures of unknown people to a folder.
    return [known.find(path) or known.find(f"{UNNAMED}/{path}") for path in paths]


def choose_templates(templates: FaceTemplates, file: Path | None) -> FaceTemplates:
    """Returns the templates that a list chooses, with the people that it gives; all of them without a list.

    Raises:
        DataError: The list cannot be read, or contains none of the templates.
    """
    if file is None:
        return templates
    given = read_template_lists([file], pictures=False)
    number_of = {name: number for number, name in enumerate(templates.names)}
    chosen = [name for name in given.names if name in number_of]
    if not chosen:
        raise DataError(
            f"{given.origin}: contains none of the {count(len(number_of), 'template')}; its first one is "
            f"{display_path(given.names[0])}, but there is {display_path(templates.names[0])}"
        )
    found = templates.take(np.array([number_of[name] for name in chosen], np.int64))
    people = [given.people.get(name, who) for name, who in zip(chosen, found.people, strict=True)]
    return FaceTemplates(
        names=found.names, people=people, vectors=found.vectors, rows=found.rows, absent=templates.absent
    )


def pool_faces(rows: Rows, method: TemplateMethod, origin: str) -> NDArray[np.float32]:
    """Pools all faces to one template, each a medium of its own; see `group_faces`.

    Returns:
        The vectors of the template. Shape: (vectors, dim).
    """
    places = np.arange(len(rows))
    weights = _weights(rows, places, origin) if method == "quality" else None
    whole = np.zeros(len(rows), np.int64)
    return pool_templates(rows.embeddings, whole, places, weights=weights, keep_media=method == "max").vectors


def _list_folders(rows: Rows) -> TemplateList:
    folders = [str(PurePosixPath(path).parent) for path in rows.paths]
    number_of = {folder: number for number, folder in enumerate(dict.fromkeys(folders))}
    return TemplateList(
        origin="the folders",
        names=list(number_of),
        paths=rows.paths,
        templates=[number_of[folder] for folder in folders],
        media=rows.paths,
        people={},
    )


def _person(rows: Rows, given: TemplateList, number: int, members: NDArray[np.int64]) -> str | None:
    name = given.names[number]
    people: set[str | None] = {rows.identities[row] for row in members}
    if name in given.people or not people:
        return given.people.get(name)
    if len(people) > 1:
        several = " and ".join(sorted(display_path(who or "a person without a name") for who in people)[:2])
        raise DataError(
            f"template {display_path(name)} has pictures of several people, such as {several}; give --template-list "
            "with a template for each person"
        )
    return next(iter(people))


def _weights(rows: Rows, places: NDArray[np.int64], origin: str) -> NDArray[np.float64]:
    """Returns the weights of pictures: the first quality measure that is known."""
    for name in MEASURES:
        weights = np.maximum(quality_measure(rows, name)[places].astype(np.float64), 0)
        if not np.isnan(weights).all():
            return np.where(np.isnan(weights), np.nanmean(weights), weights)
    raise DataError(
        f"{origin}: has neither norms nor detection scores to weight pictures by; use --template mean, or embed again "
        "with --quality"
    )
