"""Options of `faceclr verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.judging import BUILT_IN, JudgingConfig

Protocol = Literal["lfw", "cfp", "scores"]
One = Literal["largest", "center", "best", "only"]

MANY, MEASURE = "Many pairs", "Measure an encoder"


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(JudgingConfig):
    """Decide whether photographs show the same person, or measure an encoder.

    Two photographs, or many pairs of them; with --protocol or --embeddings, an encoder on labeled pairs.
    """

    photos: tuple[Path, ...] = argument((), help="Two photographs", metavar="A B")
    face: One | None = option(
        None,
        help="Which, of several (default: the largest; with --protocol, the center, as LFW means it); 'best' is the "
        "surest, 'only' makes more than one an error; also for --embeddings that embed --face all wrote",
    )
    save_crops: Path | None = option(None, metavar="DIR", help="Also write the faces as the encoder sees them")
    gallery: Path | None = option(
        None,
        short="-g",
        metavar="FACES.h5|DIR",
        help="With one photograph: who of these people it shows, as identify",
    )

    pairs: Path | None = option(
        None,
        metavar="FILE",
        panel=MANY,
        streams=True,
        help="Pairs: CSV or TSV 'a,b[,same]' or LFW's lists; - is standard input",
    )
    root: Path | None = option(
        None, metavar="DIR", panel=MANY, help="The photographs or prepared faces that the pairs name (default: here)"
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=MANY,
        metavar="SHARE",
        help="Share of pairs that may fail before the exit code is 3",
    )

    protocol: Protocol | None = option(
        None,
        panel=MEASURE,
        help="'lfw': folds over --pairs; 'cfp': frontal to profile, --root is the data set; 'scores': --pairs holds "
        "'score,same'",
    )
    embeddings: Path | None = option(
        None, metavar="STORE.h5", panel=MEASURE, help="Measure stored embeddings on --pairs or --all-pairs"
    )
    all_pairs: bool = option(False, panel=MEASURE, help="Measure on every two faces of --embeddings")
    folds: int = option(10, minimum=2, panel=MEASURE, help="Folds; each is judged by the others' best threshold")
    calibrate_on: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Other pairs, whose best threshold judges --pairs, instead of folds"
    )
    results: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Also write the score and verdict of each pair, as JSON lines"
    )
    plot: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Also draw the ROC and the scores: .png, .svg or .pdf"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.photos or self.gallery is not None:
            self._require_photographs()
        elif self.all_pairs:
            if self.embeddings is None:
                raise ValueError("--all-pairs measures a store: give --embeddings STORE.h5")
            self._refuse("all pairs are measured", "pairs", "protocol", "calibrate_on", "results", "plot")
        elif self.protocol == "cfp":
            if self.root is None:
                raise ValueError("--protocol cfp: --root names the folder that CFP's archive was unpacked to")
            self._refuse("CFP brings its own pairs of photographs", "pairs", "embeddings", "calibrate_on")
        elif self.pairs is None:
            raise ValueError(
                "give two photographs, or many pairs with --pairs FILE, or measure --embeddings STORE.h5 on either "
                "--pairs or --all-pairs"
            )
        elif self.protocol == "scores":
            self._refuse("scores are all that is measured", "embeddings", "root", "face", "save_crops")
        if self.embeddings is not None:
            self._refuse("what a store holds is embedded already", "root", "save_crops")
            if self.model != BUILT_IN:
                raise ValueError("--model: what a store holds is embedded already; leave it out")
        if self.measures:
            self._refuse("to measure is to find the thresholds", "threshold", "far", "calibration")
        else:
            self._refuse("is for measuring, with --protocol or --embeddings", "calibrate_on", "results", "plot")

    @property
    def measures(self) -> bool:
        """Whether an encoder is measured, rather than verdicts asked for."""
        return self.protocol is not None or self.embeddings is not None

    @property
    def one(self) -> One:
        """Which face of several is taken."""
        return self.face or ("center" if self.protocol else "largest")

    def as_identify(self) -> IdentifyConfig:
        """The equivalent options of `faceclr identify` for one photograph and `gallery`."""
        return IdentifyConfig(
            photos=self.photos[0],
            gallery=self.gallery,
            model=self.model,
            threshold=self.threshold,
            far=self.far,
            calibration=self.calibration,
            face=self.one,
            max_bad=0.0,
        )

    def _require_photographs(self) -> None:
        if self.gallery is not None:
            if len(self.photos) != 1:
                raise ValueError(f"--gallery is searched for one photograph, not {len(self.photos)}")
            self._refuse("a gallery is searched", "pairs", "root", "protocol", "embeddings", "all_pairs", "save_crops")
            return
        if len(self.photos) != 2:
            raise ValueError(
                f"verify compares two photographs, not {len(self.photos)}: faceclr verify a.jpg b.jpg "
                "(many at once: --pairs FILE)"
            )
        self._refuse("two photographs are compared", "pairs", "root", "protocol", "embeddings", "all_pairs")

    def _refuse(self, reason: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) not in (None, False):
                raise ValueError(f"--{name.replace('_', '-')}: {reason}; leave it out")
