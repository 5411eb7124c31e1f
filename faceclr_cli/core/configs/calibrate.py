"""Options of `faceclr calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import check_limits, option
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.configs.verify import One

USUAL_FARS = (1e-2, 1e-3, 1e-4, 1e-5)

FACES, MEASURING = "What to measure on", "Measuring"


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Measure an encoder's thresholds on labeled faces, and keep them in it."""

    model: str = option(
        "sface", short="-m", metavar="sface|RUN", help="A run or encoder folder, or with -o also one that is built in"
    )
    root: Path | None = option(
        None, metavar="DIR", panel=FACES, help="Photographs or prepared faces of people with names"
    )
    embeddings: Path | None = option(None, metavar="STORE.h5", panel=FACES, help="The same, embedded already")
    pairs: Path | None = option(
        None,
        metavar="FILE",
        panel=FACES,
        streams=True,
        help="The pairs to measure on: CSV 'a,b,same' or LFW's lists",
    )
    all_pairs: bool = option(
        False, panel=FACES, help="Measure on every two faces instead: of all people, or of the pictures in --pairs"
    )
    far: tuple[float, ...] = option(
        (),
        metavar="RATE",
        panel=MEASURING,
        help="A false accept rate; may be repeated (default: those of 0.01, 0.001, 0.0001 and 0.00001 that there are "
        "people for)",
    )
    face: One = option("largest", panel=FACES, help="Which face of a photograph that shows several")
    rounds: int = option(1000, minimum=100, panel=MEASURING, help="Resamples of the people, for the 95% intervals")
    seed: int = option(0, minimum=0, panel=MEASURING, help="Fixes the resamples")
    out: Path | None = option(
        None, short="-o", metavar="FILE", help="Write here, for verify --calibration, and leave the encoder as it is"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if (self.root is None) == (self.embeddings is None):
            raise ValueError("give either --root, a folder of people, or --embeddings, a store of them")
        if self.pairs is None and not self.all_pairs:
            raise ValueError("give --pairs FILE to measure on, or --all-pairs for every two faces")
        if self.pairs == STANDARD_INPUT:
            raise ValueError("--pairs -: is read more than once, so give a file")
        if not all(0 < far < 1 for far in self.far):
            raise ValueError("--far is a rate between 0 and 1, such as 0.001")
