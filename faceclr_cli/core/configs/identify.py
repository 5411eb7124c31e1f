"""Options of `faceclr identify`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, inherited, option
from faceclr_cli.core.configs.prepare import DEFAULT_FPS, STANDARD_INPUT
from faceclr_cli.core.configs.quality import MIN_QUALITY_METAVAR, parse_quality_limits
from faceclr_cli.core.configs.templates import TEMPLATES, TemplateMethod, template_list_option, template_option
from faceclr_cli.core.configs.threshold_options import ThresholdConfig

FaceChoice = Literal["largest", "center", "best", "all", "only"]

PHOTOGRAPHS, ANSWERS = "Photographs", "Answers"


@dataclass(frozen=True, kw_only=True)
class IdentifyConfig(ThresholdConfig):
    """Identify the people of a gallery in photographs."""

    photos: Path | None = argument(
        None,
        help="Photographs: a file, a folder, a .zip or .tar, or - to read paths from standard input; a store of "
        "their embeddings; or a film",
        metavar="PHOTOS|FACES.h5|FILM",
    )
    gallery: Path | None = option(
        None,
        short="-g",
        metavar="FACES.h5|DIR",
        help="Labeled people: a store, prepared faces, photographs, or a classifier from linear-eval --save",
    )
    far: float | None = inherited(
        ThresholdConfig,
        "far",
        help="Use the threshold calibrated for this false accept rate (default: at most 0.001 divided by the number of "
        "gallery pictures, or the lowest calibrated rate)",
    )
    face: FaceChoice | None = option(
        None,
        panel=PHOTOGRAPHS,
        help="Which face to use when a photograph has several (default: all; with --evaluate: largest)",
    )
    gallery_face: FaceChoice | None = option(
        None,
        panel=PHOTOGRAPHS,
        help="Which face to use when a photograph of the gallery has several (default: largest)",
    )
    min_quality: tuple[str, ...] = option(
        (),
        metavar=MIN_QUALITY_METAVAR,
        panel=PHOTOGRAPHS,
        help="Ignore faces below a minimum quality, such as sharpness=20; measures: detection_score, norm, "
        "sharpness, eye_distance, frontality, stability; may be repeated",
    )
    matches: int = option(
        3, minimum=1, metavar="N", panel=ANSWERS, help="Number of most similar people that --json lists"
    )
    annotate: Path | None = option(
        None,
        metavar="DIR",
        panel=ANSWERS,
        help="Write copies of the photographs to DIR, with a box and a name on each face",
    )
    xmp: bool = option(
        False,
        panel=ANSWERS,
        help="Write the named faces to an XMP file beside each photograph, for digiKam, Lightroom and photoprism",
    )
    webvtt: Path | None = option(
        None, metavar="FILE", panel=ANSWERS, help="Write the names of the people in a film as subtitles (.vtt)"
    )
    evaluate: bool = option(
        False,
        panel=ANSWERS,
        help="Evaluate open-set identification: PHOTOS has a folder per person; _ and people outside the gallery are "
        "unknown",
    )
    fps: float = option(
        DEFAULT_FPS,
        minimum=0.1,
        maximum=100.0,
        metavar="RATE",
        panel=PHOTOGRAPHS,
        help="Number of frames per second in which the faces of a film are detected",
    )
    null: bool = option(
        False, panel=PHOTOGRAPHS, help="Paths on standard input are separated by NUL, as by find -print0"
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        metavar="SHARE",
        panel=PHOTOGRAPHS,
        help="Maximum share of failed files; above it, the exit code is 3",
    )
    template: TemplateMethod | None = template_option()
    template_list: tuple[Path, ...] = template_list_option()
    gallery_templates: Path | None = option(
        None,
        metavar="FILE",
        panel=TEMPLATES,
        help="Templates of the gallery, and their people: CSV 'template,person'",
    )
    probe_templates: Path | None = option(
        None,
        metavar="FILE",
        panel=TEMPLATES,
        help="Templates to identify, with --evaluate also their people: CSV 'template[,person]'",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.photos is None:
            raise ValueError("give photographs and a gallery: faceclr identify a.jpg --gallery faces.h5")
        if self.gallery is None:
            raise ValueError("give --gallery, the labeled people: a store, prepared faces or a folder of photographs")
        if self.null and self.photos != STANDARD_INPUT:
            raise ValueError("--null requires paths on standard input: give - as PHOTOS")
        if self.evaluate and self.photos == STANDARD_INPUT:
            raise ValueError("--evaluate requires a folder per person; it does not accept a list of paths")
        if self.evaluate and self.annotate is not None:
            raise ValueError("--annotate and --evaluate cannot be combined; --evaluate only computes rates")
        if self.evaluate and self.xmp:
            raise ValueError("--xmp and --evaluate cannot be combined; --evaluate only computes rates")
        if self.template is not None and self.xmp:
            raise ValueError("--xmp and --template cannot be combined; a template has several photographs")
        parse_quality_limits(self.min_quality)
        if self.evaluate and self.face == "all":
            raise ValueError("--face all: --evaluate uses one face per photograph; choose another value")
        self._check_templates()

    @property
    def quality_limits(self) -> dict[str, float]:
        """The limits in `min_quality`."""
        return parse_quality_limits(self.min_quality)

    @property
    def face_choice(self) -> FaceChoice:
        """Which face to use when a photograph has several."""
        return self.face or ("largest" if self.evaluate or self.template else "all")

    def _check_templates(self) -> None:
        if self.template is None:
            for name in ("template_list", "gallery_templates", "probe_templates"):
                if getattr(self, name):
                    raise ValueError(f"--{name.replace('_', '-')}: requires --template mean, max or quality")
            return
        if self.photos == STANDARD_INPUT:
            raise ValueError("--template: give a folder or a store; it does not accept a list of paths")
        if self.annotate is not None:
            raise ValueError("--annotate and --template cannot be combined; a template has no single picture")
        if "all" in (self.face, self.gallery_face):
            raise ValueError("--face all: a template has one face of each photograph; choose another value")
