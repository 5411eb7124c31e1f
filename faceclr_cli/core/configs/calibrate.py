"""Options of `faceclr calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import check_limits, option
from faceclr_cli.core.configs.group_options import groups_option, groups_plot_option, require_groups
from faceclr_cli.core.configs.prepare import STANDARD_INPUT
from faceclr_cli.core.configs.verify import SingleFace

USUAL_FARS = (1e-2, 1e-3, 1e-4, 1e-5)

FACES, MEASURING = "Faces and pairs", "Measurement"


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """Measure the thresholds of an encoder on labeled faces, and store them in it."""

    model: str = option(
        "sface",
        short="-m",
        metavar="sface|RUN",
        help="Encoder: a run or encoder folder; with -o also a built-in encoder",
    )
    root: Path | None = option(None, metavar="DIR", panel=FACES, help="Photographs or prepared faces of labeled people")
    embeddings: Path | None = option(
        None, metavar="STORE.h5", panel=FACES, help="Store of embeddings of labeled people, instead of --root"
    )
    pairs: Path | None = option(
        None,
        metavar="FILE",
        panel=FACES,
        streams=True,
        help="Pairs to measure on: CSV 'a,b,same' or LFW's lists",
    )
    all_pairs: bool = option(
        False, panel=FACES, help="Compare every two faces: all of them, or those of the pictures in --pairs"
    )
    far: tuple[float, ...] = option(
        (),
        metavar="RATE",
        panel=MEASURING,
        help="False accept rate to calibrate; may be repeated (default: those of 0.01, 0.001, 0.0001 and 0.00001 for "
        "which there are enough people)",
    )
    face: SingleFace = option("largest", panel=FACES, help="Which face to use when a photograph has several")
    rounds: int = option(
        1000, minimum=100, panel=MEASURING, help="Bootstrap resamples of the people for the 95% intervals"
    )
    seed: int = option(0, minimum=0, panel=MEASURING, help="Random seed of the bootstrap")
    groups: Path | None = groups_option(MEASURING)
    groups_plot: Path | None = groups_plot_option(MEASURING)
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE",
        help="Write the calibration to FILE, for verify --calibration; the encoder is not changed",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if (self.root is None) == (self.embeddings is None):
            raise ValueError("give either --root DIR, a folder of labeled people, or --embeddings STORE.h5")
        if self.pairs is None and not self.all_pairs:
            raise ValueError("give --pairs FILE, or --all-pairs to compare every two faces")
        if self.pairs == STANDARD_INPUT:
            raise ValueError("--pairs -: the pairs are read more than once; give a file")
        if not all(0 < far < 1 for far in self.far):
            raise ValueError("--far must be between 0 and 1, such as 0.001")
        require_groups(self.groups, self.groups_plot)
