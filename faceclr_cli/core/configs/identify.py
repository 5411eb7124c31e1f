"""Options of `faceclr identify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.judging import THRESHOLD, JudgingConfig
from faceclr_cli.core.configs.prepare import STANDARD_INPUT

Which = Literal["largest", "center", "best", "all", "only"]

PHOTOGRAPHS, ANSWERS = "Photographs", "Answers"


@dataclass(frozen=True, kw_only=True)
class IdentifyConfig(JudgingConfig):
    """Say who of a gallery's people is in photographs, or that it is nobody."""

    photos: Path | None = argument(
        None,
        help="Photographs: a file, a folder, a .zip or .tar, or - for a list of paths on standard input; or a store "
        "that faceclr embed made of them",
        metavar="PHOTOS|FACES.h5",
    )
    gallery: Path | None = option(
        None,
        short="-g",
        metavar="FACES.h5|DIR",
        help="People with names: a store, prepared faces, photographs, or a classifier of linear-eval --save",
    )
    far: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        metavar="RATE",
        panel=THRESHOLD,
        help="The false accept rate that the threshold is for, one that was measured (default: at most 0.001 divided "
        "by the pictures of the gallery, or the lowest)",
    )
    face: Which | None = option(
        None, panel=PHOTOGRAPHS, help="Which, of several (default: all; with --evaluate, the largest)"
    )
    gallery_face: Which | None = option(
        None,
        panel=PHOTOGRAPHS,
        help="Which, of several in a photograph of the gallery, has the name (default: largest)",
    )
    matches: int = option(
        3, minimum=1, metavar="N", panel=ANSWERS, help="How many of the most similar people --json lists"
    )
    annotate: Path | None = option(
        None,
        metavar="DIR",
        panel=ANSWERS,
        help="Also write copies of the photographs there, with a box and a name on each face",
    )
    evaluate: bool = option(
        False,
        panel=ANSWERS,
        help="Measure instead: PHOTOS has a folder for each person; _ and people of no gallery are unknown",
    )
    null: bool = option(False, panel=PHOTOGRAPHS, help="Paths on standard input end with NUL, as of find -print0")
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        metavar="SHARE",
        panel=PHOTOGRAPHS,
        help="Share of files that may fail before the exit code is 3",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.photos is None or self.gallery is None:
            raise ValueError("give photographs and the people they may show: faceclr identify a.jpg --gallery faces.h5")
        if self.null and self.photos != STANDARD_INPUT:
            raise ValueError("--null is for a list of paths on standard input: give - as PHOTOS")
        if self.evaluate and self.photos == STANDARD_INPUT:
            raise ValueError("--evaluate takes who is who from folders; a list of paths does not say it")
        if self.evaluate and self.annotate is not None:
            raise ValueError("--annotate shows answers, and --evaluate gives numbers alone; leave one out")
        if self.evaluate and self.face == "all":
            raise ValueError("--face all: --evaluate asks about one face of each photograph; choose another")

    @property
    def which(self) -> Which:
        """Which face of several is taken."""
        return self.face or ("largest" if self.evaluate else "all")
