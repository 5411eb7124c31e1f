"""Options of `faceclr prepare`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

STANDARD_INPUT = Path("-")


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Turn photographs into aligned face crops."""

    source: Path = argument(
        help="Photographs: a folder (of folders of people, CelebA, LFW, ...), a .zip or .tar, one file, "
        "or - for a list of paths on standard input",
        metavar="PHOTOS",
    )
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Where the faces go (default: PHOTOS-faces in the working directory)"
    )
    layout: Literal["auto", "identities", "celeba", "list", "lfw", "flat"] = option(
        "auto",
        help="How people are told apart: 'identities' by folder, 'celeba' and 'list' by a file of 'file identity' "
        "lines, 'lfw' by file name; 'auto' looks",
    )
    depth: int | None = option(
        None,
        minimum=1,
        help="Which folder on the way to a photograph is its person's, 1 being the first (default: found out)",
    )
    null: bool = option(False, help="Paths on standard input end with NUL, as of find -print0")

    detector: Literal["yunet", "haar", "mtcnn", "none"] = option(
        "yunet",
        panel="Finding faces",
        help="'haar' gives a box only; 'mtcnn' needs the extra of that name; 'none': the pictures are crops already",
    )
    assume: Literal["arcface"] | None = option(
        None, panel="Finding faces", help="With --detector none: the template that those crops were aligned onto"
    )
    face: Literal["largest", "center", "best", "all", "only"] = option(
        "largest",
        panel="Finding faces",
        help="Which, of several; 'best' is the surest, 'only' makes more than one an error of that photograph",
    )
    min_size: int = option(
        0, minimum=0, panel="Finding faces", metavar="PIXELS", help="Leave out faces whose box is narrower or lower"
    )
    min_score: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        panel="Finding faces",
        help="Leave out faces that the detector is less sure of (default: yunet 0.6, mtcnn 0.9, haar 0.8)",
    )

    align: Literal["arcface", "eyes", "box"] = option(
        "arcface",
        panel="Cropping",
        help="'arcface': five landmarks onto the template; 'eyes': eyes level, face centered; 'box': upright",
    )
    margin: float | None = option(
        None,
        minimum=0.0,
        maximum=2.0,
        panel="Cropping",
        metavar="SHARE",
        help="With 'eyes' and 'box': added to each side of the face's box, as a share of it (default: 0.2)",
    )
    pad: Literal["black", "reflect"] = option(
        "black", panel="Cropping", help="What fills a crop beyond the photograph and beside a face that is not square"
    )
    size: int = option(
        112, minimum=32, maximum=1024, panel="Cropping", metavar="PIXELS", help="Side of the square crops"
    )
    format: Literal["jpg", "png"] = option("jpg", panel="Cropping", help="File format of the crops")
    quality: int = option(95, minimum=50, maximum=100, panel="Cropping", help="JPEG quality of the crops")

    min_sharpness: float = option(
        0.0,
        minimum=0.0,
        panel="Choosing photographs",
        help="Leave out crops whose gray values' Laplacian has less variance than this",
    )
    min_images: int = option(
        0, minimum=0, panel="Choosing photographs", metavar="N", help="Leave out people with fewer faces"
    )
    max_per_identity: int | None = option(
        None, minimum=1, panel="Choosing photographs", metavar="N", help="At most so many photographs of each person"
    )

    sheet: Path | None = option(
        None,
        panel="Looking at it",
        metavar="FILE",
        help="Draw random crops, and what was left out and why (.jpg, .png, .pdf)",
    )
    plot: Path | None = option(
        None, panel="Looking at it", metavar="FILE", help="Draw how many pictures each person has"
    )

    dry_run: bool = option(False, panel="Running", help="Say what would be done, and write nothing")
    retry: Literal["failed", "skipped"] | None = option(
        None, panel="Running", help="Try again what an earlier run could not read, or left out"
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel="Running",
        metavar="SHARE",
        help="Share of files that may fail or show no face before the exit code is 3",
    )
    workers: int | None = option(None, minimum=1, panel="Running", help="Processes (default: one per core)")
    cluster: str | None = option(
        None,
        panel="Running",
        metavar="ADDRESS",
        help="Work on a Dask cluster that sees the same files, such as tcp://scheduler:8786 (extra 'cluster')",
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.detector == "none":
            if self.face != "largest" or self.min_size or self.min_score is not None:
                raise ValueError(
                    "--detector none takes pictures whole: --face, --min-size and --min-score have no place"
                )
            if self.align != "arcface" or self.margin is not None:
                raise ValueError("--detector none crops nothing: --assume names how the pictures were aligned")
        elif self.assume is not None:
            raise ValueError("--assume is for crops that were made already: add --detector none")
        if self.detector == "haar" and self.align != "box":
            raise ValueError("--detector haar finds boxes without landmarks: add --align box")
        if self.margin is not None and self.align == "arcface":
            raise ValueError("--margin is for --align eyes and --align box; the arcface template has its own")
        if self.depth is not None and (self.layout not in ("auto", "identities") or self.source == STANDARD_INPUT):
            raise ValueError("--depth is for a folder or archive with folders of people (--layout identities)")
        if self.null and self.source != STANDARD_INPUT:
            raise ValueError("--null is for a list of paths on standard input: give - as PHOTOS")
        if self.cluster is not None and self.workers is not None:
            raise ValueError("--workers are local processes, and --cluster has its own")
