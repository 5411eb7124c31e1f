"""`faceclr identify FILM`: the times at which the people of a gallery appear in a film."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.embeddings.mirrored_crops import embed_crops
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.identification.gallery import KnownPeople
from faceclr_cli.core.evaluation.identification.identify import load_people
from faceclr_cli.core.evaluation.identification.match import Match
from faceclr_cli.core.evaluation.identification.webvtt import write_webvtt
from faceclr_cli.core.events import Notice, Reporter, TaskAdvanced, TaskFinished, TaskStarted
from faceclr_cli.core.faces.crop import PhotoCropper
from faceclr_cli.core.faces.detect import Selection
from faceclr_cli.core.films.face_tracker import LONGEST_GAP
from faceclr_cli.core.films.film_file import (
    Frame,
    FrameSource,
    describe_missing_decoder,
    divide_film,
    film_length,
    has_film_decoder,
)
from faceclr_cli.core.films.film_tracks import FilmTrack, TrackFinder
from faceclr_cli.core.films.time_codes import time_code
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_PER_TRACK = 5
"""Number of faces of a track that are averaged for the search."""

_TASK = "identifying"


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """An appearance of a person in a film.

    Attributes:
        start: Time of the first sighting, in seconds from the beginning of the film.
        end: Time of the last sighting.
        name: Name of the person, or None if the face matches no one in the gallery.
        match: The most similar person of the gallery.
        frames: Number of examined frames that show the face.
    """

    start: float
    end: float
    name: str | None
    match: Match
    frames: int

    def to_json(self) -> dict[str, Any]:
        """The appearance as a JSON object, with time codes."""
        return {
            "from": time_code(self.start),
            "to": time_code(self.end),
            "name": self.name,
            "probability": self.match.probability,
            "similarity": self.match.similarity,
            "closest": self.match.name,
            "frames": self.frames,
        }


def identify_film(config: IdentifyConfig, film: Path, reporter: Reporter) -> list[Appearance]:
    """Names the people in a film, with the times of their appearances.

    Each track is one probe: the mean embedding of its best faces. Appearances of the same person with less than two
    seconds between them are joined, for example across a cut.

    Args:
        config: The options.
        film: The film.
        reporter: Receives the progress.

    Returns:
        The appearances, ordered by time.

    Raises:
        DataError: The film or the gallery cannot be read, or the WebVTT file cannot be written.
        ModelError, FingerprintError: The encoder does not exist, or did not make the gallery.
        ConfigError: The extra `video` is not installed, the encoder has no threshold and none was given, or an option
            is only for photographs.
    """
    given = {
        "--annotate": config.annotate is not None,
        "--evaluate": config.evaluate,
        "--min-quality": bool(config.min_quality),
        "--template": config.template is not None,
        "--xmp": config.xmp,
    }
    for option in (name for name, is_given in given.items() if is_given):
        raise ConfigError(f"{option}: {display_path(film)} is a film; the option is only for photographs")
    if not has_film_decoder():
        raise ConfigError(describe_missing_decoder(film))
    if config.webvtt is not None and config.webvtt.resolve() == film.resolve():
        raise ConfigError("--webvtt: would overwrite the film; choose another path")
    if config.webvtt is not None and config.webvtt.is_dir():
        raise ConfigError(f"--webvtt: {display_path(config.webvtt)} is a folder; give the name of a file")
    film_length(film)  # A file that is not a film is reported before the gallery is read.
    encoder, people = load_people(config, reporter)
    appearances = find_appearances(config, film, encoder, people, reporter)
    if config.webvtt is not None:
        write_webvtt(config.webvtt, ((each.start, each.end, each.name) for each in appearances if each.name))
    return appearances


def find_appearances(
    config: IdentifyConfig, film: Path, encoder: Encoder, people: KnownPeople, reporter: Reporter
) -> list[Appearance]:
    """Names the people in a film as `identify_film` does, with an encoder and a gallery that are loaded.

    Raises:
        DataError: The film cannot be read.
        ModelError: The encoder produced NaN or infinite embeddings.
    """
    return join_appearances(_find_appearances(config, film, film_length(film), encoder, people, reporter))


def join_appearances(appearances: Iterable[Appearance]) -> list[Appearance]:
    """Joins the appearances of the same person that are less than two seconds apart, and orders all by time."""
    joined: list[Appearance] = []
    last: dict[str, int] = {}
    for each in sorted(appearances, key=lambda each: (each.start, each.end)):
        place = None if each.name is None else last.get(each.name)
        if place is None or each.start - joined[place].end > LONGEST_GAP:
            joined.append(each)
            if each.name is not None:
                last[each.name] = len(joined) - 1
            continue
        former = joined[place]
        joined[place] = replace(
            former,
            end=max(former.end, each.end),
            match=max(former.match, each.match, key=lambda match: match.similarity),
            frames=former.frames + each.frames,
        )
    return joined


def _find_appearances(
    config: IdentifyConfig, film: Path, length: float, encoder: Encoder, people: KnownPeople, reporter: Reporter
) -> Iterator[Appearance]:
    finder = TrackFinder(PhotoCropper(encoder.fingerprint), Selection(choice=config.face_choice), _PER_TRACK)
    reporter.report(TaskStarted(task=_TASK, total=max(1, round(length)), unit="seconds"))
    damaged = 0
    try:
        for piece in divide_film(film):
            source = FrameSource(film, config.fps, piece)
            for track in finder.find(_tell(source, reporter)):
                match = _ask(track, encoder, people)
                name = match.name if match.similarity >= people.rule.threshold else None
                yield Appearance(start=track.start, end=track.end, name=name, match=match, frames=track.frames)
            damaged += source.damaged
    finally:
        reporter.report(TaskFinished(task=_TASK))
    if damaged:
        text = f"{display_path(film)}: skipped {count(damaged, 'damaged frame')}"
        reporter.report(Notice(text=text, level="warning"))


def _tell(frames: Iterable[Frame], reporter: Reporter) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        reporter.report(TaskAdvanced(task=_TASK, done=round(frame.seconds)))


def _ask(track: FilmTrack, encoder: Encoder, people: KnownPeople) -> Match:
    crops = np.stack([face.aligned.crop for face in track.faces])
    vectors, _ = embed_crops(encoder, crops, "mean" if people.flip else "none")
    return people.find(normalize_rows(vectors.mean(axis=0, keepdims=True)), 1)[0][0]
