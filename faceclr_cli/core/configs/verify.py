"""Options of `faceclr verify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.group_options import groups_option, groups_plot_option, require_groups
from faceclr_cli.core.configs.identify import IdentifyConfig
from faceclr_cli.core.configs.templates import TemplateMethod, template_list_option, template_option
from faceclr_cli.core.configs.threshold_options import BUILT_IN, ThresholdConfig

Protocol = Literal["lfw", "cfp", "scores"]
SingleFace = Literal["largest", "center", "best", "only"]

MANY, MEASURE = "Many pairs", "Evaluation of an encoder"


@dataclass(frozen=True, kw_only=True)
class VerifyConfig(ThresholdConfig):
    """Decide whether two photographs show the same person, or evaluate an encoder.

    Compares two photographs, or many pairs with --pairs. With --protocol or --embeddings, evaluates an encoder on
    labeled pairs.
    """

    photos: tuple[Path, ...] = argument((), help="Two photographs, or two folders with --template", metavar="A B")
    face: SingleFace | None = option(
        None,
        help="Which face to use when a photograph has several (default: largest; with --protocol: center, as in LFW); "
        "'best': highest detection score; 'only': reject the photograph; also for stores from embed --face all",
    )
    save_crops: Path | None = option(None, metavar="DIR", help="Write the aligned faces, as the encoder sees them")
    gallery: Path | None = option(
        None,
        short="-g",
        metavar="FACES.h5|DIR",
        help="Identify the person in one photograph among these people, as faceclr identify does",
    )

    pairs: Path | None = option(
        None,
        metavar="FILE",
        panel=MANY,
        streams=True,
        help="Pairs: CSV or TSV 'a,b[,same]' or LFW's lists; - reads standard input",
    )
    root: Path | None = option(
        None,
        metavar="DIR",
        panel=MANY,
        help="Photographs or prepared faces that the pairs refer to (default: the working directory)",
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=MANY,
        metavar="SHARE",
        help="Maximum share of pairs that fail; above it, the exit code is 3",
    )

    protocol: Protocol | None = option(
        None,
        panel=MEASURE,
        help="Protocol; 'lfw': cross-validation over --pairs; 'cfp': frontal-profile pairs of the dataset in --root; "
        "'scores': --pairs has lines 'score,same'",
    )
    embeddings: Path | None = option(
        None, metavar="STORE.h5", panel=MEASURE, help="Evaluate a store of embeddings on --pairs or --all-pairs"
    )
    all_pairs: bool = option(False, panel=MEASURE, help="Compare every two faces of --embeddings")
    folds: int = option(10, minimum=2, panel=MEASURE, help="Number of cross-validation folds")
    calibrate_on: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Choose the threshold on these pairs instead of by cross-validation"
    )
    results: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Write the score and verdict of each pair as JSON lines"
    )
    plot: Path | None = option(
        None, metavar="FILE", panel=MEASURE, help="Plot the ROC curve and the score distributions (.png, .svg, .pdf)"
    )
    template: TemplateMethod | None = template_option()
    template_list: tuple[Path, ...] = template_list_option()
    groups: Path | None = groups_option(MEASURE)
    groups_plot: Path | None = groups_plot_option(MEASURE)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_templates()
        if self.photos or self.gallery is not None:
            self._require_photographs()
        elif self.all_pairs:
            if self.embeddings is None:
                raise ValueError("--all-pairs requires a store: give --embeddings STORE.h5")
            self._refuse("cannot be combined with --all-pairs", "pairs", "protocol", "calibrate_on", "results", "plot")
        elif self.protocol == "cfp":
            if self.root is None:
                raise ValueError("--protocol cfp: give --root DIR, the folder of the unpacked CFP archive")
            self._refuse(
                "cannot be combined with --protocol cfp, which has its own pairs", "pairs", "embeddings", "calibrate_on"
            )
        elif self.pairs is None:
            raise ValueError(
                "give two photographs, or --pairs FILE, or --embeddings STORE.h5 with --pairs or --all-pairs"
            )
        elif self.protocol == "scores":
            self._refuse("cannot be combined with --protocol scores", "embeddings", "root", "face", "save_crops")
        if self.embeddings is not None:
            self._refuse("cannot be combined with --embeddings", "root", "save_crops")
            if self.model != BUILT_IN:
                raise ValueError("--model: cannot be combined with --embeddings; omit it")
        if self.is_evaluation:
            own = ("calibration",) if self.groups is not None else ("threshold", "far", "calibration")
            self._refuse("an evaluation chooses its own thresholds", *own)
        else:
            self._refuse("requires --protocol or --embeddings", "calibrate_on", "results", "plot", "groups")
        if self.protocol == "scores":
            self._refuse("requires the names of the pictures, which --protocol scores lacks", "groups")
        require_groups(self.groups, self.groups_plot)

    def _check_templates(self) -> None:
        if self.template is None:
            self._refuse("requires --template mean, max or quality", "template_list")
            return
        if self.photos:
            self._refuse("cannot be combined with two folders", "template_list", "save_crops")
        elif self.embeddings is None:
            raise ValueError(
                "--template: give two folders, or --embeddings STORE.h5 with --pairs or --all-pairs; for a folder of "
                "pictures with pairs, use faceclr benchmark"
            )
        self._refuse(
            "cannot be combined with --template", "gallery", "protocol", "calibrate_on", "results", "plot", "groups"
        )

    @property
    def is_evaluation(self) -> bool:
        """True if the command evaluates an encoder instead of giving verdicts."""
        return self.protocol is not None or self.embeddings is not None

    @property
    def face_choice(self) -> SingleFace:
        """Which face to use when a photograph has several."""
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
            face=self.face_choice,
            max_bad=0.0,
        )

    def _require_photographs(self) -> None:
        if self.gallery is not None:
            if len(self.photos) != 1:
                raise ValueError(f"--gallery requires one photograph, not {len(self.photos)}")
            self._refuse(
                "cannot be combined with --gallery",
                "pairs",
                "root",
                "protocol",
                "embeddings",
                "all_pairs",
                "save_crops",
            )
            return
        if len(self.photos) != 2:
            raise ValueError(
                f"verify compares two photographs, not {len(self.photos)}: faceclr verify a.jpg b.jpg "
                "(for many pairs: --pairs FILE)"
            )
        self._refuse("cannot be combined with two photographs", "pairs", "root", "protocol", "embeddings", "all_pairs")

    def _refuse(self, reason: str, *names: str) -> None:
        for name in names:
            if getattr(self, name) not in (None, False, ()):
                raise ValueError(f"--{name.replace('_', '-')}: {reason}; omit it")
