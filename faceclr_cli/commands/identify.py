"""`faceclr identify`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.commands.identification_tables import show_appearances, show_faces, show_folder, show_open_set
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.errors import TooManyBadFilesError

EXAMPLE = "faceclr identify party.jpg --gallery faces.h5"


def run(config: IdentifyConfig, console: Console) -> None:
    """Runs the command and shows its results."""
    from faceclr_cli.core.evaluation.identification.folder_identification import find_films
    from faceclr_cli.core.films.film_file import is_film

    if config.photos is not None and is_film(config.photos.name):
        show_appearances(config, config.photos, console)
        return
    films = find_films(config, console.reporter)
    if films.names:
        show_folder(config, films, console)
    elif config.evaluate:
        _evaluate(config, console)
    else:
        show_faces(config, console)


def _evaluate(config: IdentifyConfig, console: Console) -> None:
    from faceclr_cli.core.evaluation.identification.open_set_protocol import OpenSetResult, evaluate_identify

    try:
        result = evaluate_identify(config, console.reporter)
    except TooManyBadFilesError as error:
        if not console.json and isinstance(error.result, OpenSetResult):
            show_open_set(error.result, console)
        raise
    show_open_set(result, console)
