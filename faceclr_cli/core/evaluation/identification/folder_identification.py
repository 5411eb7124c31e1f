"""`faceclr identify FOLDER`, with films among the photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.datasets.face_sets import is_face_set
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.identification.film_identification import Appearance, find_appearances
from faceclr_cli.core.evaluation.identification.identify import (
    IdentifyResult,
    identify_photos,
    load_people,
    prepare_identification,
)
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.films.film_file import describe_missing_decoder, has_film_decoder, is_film
from faceclr_cli.core.sources.file_trees import open_tree
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count


@dataclass(frozen=True, kw_only=True)
class FolderFilms:
    """The films of a folder.

    Attributes:
        names: Their paths, relative to the folder.
        is_all: True if the folder has no photographs.
    """

    names: Sequence[str]
    is_all: bool


@dataclass(frozen=True, kw_only=True)
class FilmResult:
    """The result for a person in a film of a folder.

    Attributes:
        photo: Path of the film, relative to the folder.
        appearance: The appearance: times and person.
    """

    photo: str
    appearance: Appearance

    def to_json(self) -> dict[str, Any]:
        """The appearance as a JSON object, with the film."""
        return {"photo": self.photo, **self.appearance.to_json()}


def find_films(config: IdentifyConfig, reporter: Reporter) -> FolderFilms:
    """Lists the films of a folder to identify, and reports if films are left out.

    Raises:
        ConfigError: There are only films, and they cannot be read or the options are for photographs.
    """
    root, none = config.photos, FolderFilms(names=(), is_all=False)
    if root is None or not root.is_dir() or is_store(root) or is_face_set(root):
        return none
    with open_tree(root, films=True) as tree:
        names = [name for name in tree.pictures if is_film(name)]
        is_all = len(names) == len(tree.pictures)
    if not names:
        return none
    given = {
        "--evaluate": config.evaluate,
        "--min-quality": bool(config.min_quality),
        "--template": config.template is not None,
    }
    reasons = [f"{option} is only for photographs" for option, is_given in given.items() if is_given]
    if not has_film_decoder():
        reasons.append(describe_missing_decoder(root))
    if not reasons:
        return FolderFilms(names=names, is_all=is_all)
    if is_all:
        raise ConfigError(f"{display_path(root)}: has only films; {reasons[0]}")
    text = f"{display_path(root)}: {count(len(names), 'film')} left out; {reasons[0]}"
    reporter.report(Notice(text=text, level="warning"))
    return none


def identify_folder(
    config: IdentifyConfig, films: FolderFilms, reporter: Reporter
) -> Iterator[IdentifyResult | FilmResult]:
    """Names the faces of the photographs in a folder, then the people in its films.

    Args:
        config: The options.
        films: The films, from `find_films`.
        reporter: Receives the progress.

    Yields:
        The results. A film or photograph that cannot be read has a result with the reason.

    Raises:
        DataError, ModelError, FingerprintError, ConfigError: As `identify`.
    """
    if films.is_all:
        given = {"--annotate": config.annotate is not None, "--xmp": config.xmp}
        for option in (name for name, is_given in given.items() if is_given):
            raise ConfigError(f"{option}: {display_path(config.photos or '')} has only films; omit it")
        if config.webvtt is not None:
            raise ConfigError(f"--webvtt: {display_path(config.photos or '')} is not a film")
        encoder, people = load_people(config, reporter)
    else:
        job = prepare_identification(config, reporter)
        encoder, people = job.encoder, job.people
        yield from identify_photos(job, reporter)
    for name in films.names:
        try:
            found = find_appearances(config, (config.photos or Path()) / name, encoder, people, reporter)
        except DataError as error:
            yield IdentifyResult(photo=name, face=0, box=None, name=None, matches=(), reason=str(error), notes=())
            continue
        yield from (FilmResult(photo=name, appearance=each) for each in found)
