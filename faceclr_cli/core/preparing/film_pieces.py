"""Films among the photos of a source."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.films.film_file import describe_missing_decoder, divide_film, has_film_decoder, is_film
from faceclr_cli.core.sources.layouts import Photo, Photos, find_photos


def find_photos_and_films(config: PrepareConfig, reporter: Reporter) -> Photos:
    """Lists the photos of a source and the pieces of its films. A film of up to five minutes is one piece.

    Args:
        config: The options.
        reporter: Receives warnings about files that are skipped.

    Raises:
        ConfigError: There are only films, and the extra `video` is not installed; or see `find_photos`.
        DataError: See `find_photos`.
    """
    detects = config.detector != "none" and config.landmarks is None
    found = find_photos(config.source, config.layout, null=config.null, depth=config.depth, films=detects)
    for text in found.notices:
        reporter.report(Notice(text=text, level="warning"))
    return _divide_films(found, config.source, reporter) if detects else found


def _divide_films(found: Photos, source: Path, reporter: Reporter) -> Photos:
    films = sum(map(_is_film, found.photos))
    if not films:
        return found
    if has_film_decoder():
        return replace(found, photos=tuple(piece for photo in found.photos for piece in _pieces(photo)))
    text = describe_missing_decoder(source)
    if films == len(found.photos):
        raise ConfigError(text)
    reporter.report(Notice(text=text, level="warning"))
    return replace(found, photos=tuple(photo for photo in found.photos if not _is_film(photo)))


def _is_film(photo: Photo) -> bool:
    return photo.member is None and is_film(photo.name)


def _pieces(photo: Photo) -> Iterator[Photo]:
    if not _is_film(photo):
        yield photo
        return
    pieces = divide_film(photo.path)
    for piece in pieces:
        # A media fragment as defined by the W3C.
        end = "" if math.isinf(piece.end) else f",{piece.end:g}"
        name = photo.name if len(pieces) == 1 else f"{photo.name}#t={piece.start:g}{end}"
        yield replace(photo, name=name, piece=piece)
