"""Options of `faceclr prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

STANDARD_INPUT = Path("-")

DEFAULT_FPS = 5.0
DEFAULT_PER_TRACK = 5


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Detect, align and crop the faces in photographs."""

    source: Path = argument(
        help="Photographs and films: a folder (a folder per person, CelebA, LFW, ...), a .zip or .tar, a file, or - to "
        "read paths from standard input",
        metavar="PHOTOS",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Output folder (default: PHOTOS-faces in the working directory)"
    )
    layout: Literal["auto", "identities", "celeba", "list", "lfw", "flat"] = option(
        "auto",
        help="How people are named: 'identities': by folder; 'celeba', 'list': by a file of 'file identity' lines; "
        "'lfw': by file name; 'auto': detect the layout",
    )
    depth: int | None = option(
        None,
        minimum=1,
        help="Level of the folder that names the person, 1 being the top level (default: detected)",
    )
    null: bool = option(False, help="Paths on standard input are separated by NUL, as by find -print0")

    detector: Literal["yunet", "haar", "mtcnn", "none"] = option(
        "yunet",
        panel="Detection",
        help="Face detector; 'haar': boxes only; 'mtcnn': requires the extra 'mtcnn'; 'none': the pictures are already "
        "crops",
    )
    assume: Literal["arcface"] | None = option(
        None, panel="Detection", help="With --detector none: template that the crops are aligned to"
    )
    landmarks: Path | None = option(
        None,
        panel="Detection",
        metavar="FILE",
        help="Landmarks of the faces, found by another detector: CSV or JSON lines with path and five points",
    )
    face: Literal["largest", "center", "best", "all", "only"] = option(
        "largest",
        panel="Detection",
        help="Which face to use when a photograph has several; 'best': highest detection score; 'only': reject the "
        "photograph",
    )
    min_size: int = option(
        0, minimum=0, panel="Detection", metavar="PIXELS", help="Minimum width and height of a face's box"
    )
    min_score: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        panel="Detection",
        help="Minimum detection score (default: yunet 0.6, mtcnn 0.9, haar 0.8)",
    )

    align: Literal["arcface", "eyes", "box"] = option(
        "arcface",
        panel="Cropping",
        help="Alignment; 'arcface': five landmarks to the template; 'eyes': eyes level, face centered; 'box': crop the "
        "box",
    )
    margin: float | None = option(
        None,
        minimum=0.0,
        maximum=2.0,
        panel="Cropping",
        metavar="SHARE",
        help="With 'eyes' and 'box': margin on each side of the face's box, as a share of its size (default: 0.2)",
    )
    pad: Literal["black", "reflect"] = option(
        "black", panel="Cropping", help="Padding of crops that extend beyond the photograph or are not square"
    )
    size: int = option(
        112, minimum=32, maximum=1024, panel="Cropping", metavar="PIXELS", help="Side length of the square crops"
    )
    format: Literal["jpg", "png"] = option("jpg", panel="Cropping", help="File format of the crops")
    quality: int = option(95, minimum=50, maximum=100, panel="Cropping", help="JPEG quality of the crops")

    min_sharpness: float = option(
        0.0,
        minimum=0.0,
        panel="Filtering",
        help="Minimum sharpness of a crop: variance of the Laplacian of its gray values",
    )
    min_images: int = option(
        0,
        minimum=0,
        panel="Filtering",
        metavar="N",
        help="Minimum number of faces per person; people with fewer are excluded",
    )
    max_per_identity: int | None = option(
        None, minimum=1, panel="Filtering", metavar="N", help="Maximum number of photographs per person"
    )

    fps: float = option(
        DEFAULT_FPS,
        minimum=0.1,
        maximum=100.0,
        panel="Films",
        metavar="RATE",
        help="Number of frames per second in which faces are detected",
    )
    per_track: int = option(
        DEFAULT_PER_TRACK,
        minimum=1,
        maximum=100,
        panel="Films",
        metavar="N",
        help="Maximum number of faces per track (a person's continuous appearance in a film)",
    )

    sheet: Path | None = option(
        None,
        panel="Pictures",
        metavar="FILE",
        help="Draw a contact sheet of random crops and rejected photographs (.jpg, .png, .pdf)",
    )
    plot: Path | None = option(None, panel="Pictures", metavar="FILE", help="Plot the number of pictures per person")

    dry_run: bool = option(False, panel="Execution", help="Show what would be done without writing anything")
    retry: Literal["failed", "skipped"] | None = option(
        None,
        panel="Execution",
        help="Retry photographs that an earlier run could not read (failed) or rejected (skipped)",
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel="Execution",
        metavar="SHARE",
        help="Maximum share of files that fail or have no face; above it, the exit code is 3",
    )
    workers: int | None = option(
        None, minimum=1, panel="Execution", help="Number of worker processes (default: one per core)"
    )
    cluster: str | None = option(
        None,
        panel="Execution",
        metavar="ADDRESS",
        help="Run on a Dask cluster with access to the same files, such as tcp://scheduler:8786 (requires the extra "
        "'cluster')",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.landmarks is not None and self.detector != "yunet":
            raise ValueError("--landmarks takes the place of a detector; omit --detector")
        if self.detector == "none":
            if self.face != "largest" or self.min_size or self.min_score is not None:
                raise ValueError("--detector none detects no faces; omit --face, --min-size and --min-score")
            if self.align != "arcface" or self.margin is not None:
                raise ValueError(
                    "--detector none does not align faces; omit --align and --margin (--assume names the template)"
                )
        elif self.assume is not None:
            raise ValueError("--assume requires --detector none, for pictures that are already crops")
        if self.detector == "haar" and self.align != "box":
            raise ValueError("--detector haar does not find landmarks; add --align box")
        if self.margin is not None and self.align == "arcface":
            raise ValueError("--margin requires --align eyes or --align box; the arcface template has a fixed margin")
        if self.depth is not None and (self.layout not in ("auto", "identities") or self.source == STANDARD_INPUT):
            raise ValueError("--depth requires a folder or archive with a folder per person (--layout identities)")
        if self.null and self.source != STANDARD_INPUT:
            raise ValueError("--null requires paths on standard input: give - as PHOTOS")
        if self.cluster is not None and self.workers is not None:
            raise ValueError("--workers and --cluster cannot be combined; a cluster has its own workers")
