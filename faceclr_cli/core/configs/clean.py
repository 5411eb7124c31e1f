"""Options of `faceclr clean`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.fields import argument, check_limits, option


@dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """Find wrong names, duplicates, junk and people of test sets in prepared faces.

    Writes a CSV file of proposals, which can be edited; --apply links the faces to a new folder. FACES is not changed.
    """

    faces: Path | None = argument(
        None, help="Prepared faces, a part of a split, or a container of crops such as train.rec", metavar="FACES"
    )
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE.csv|DIR",
        help="Proposals to write (default: FACES-clean.csv in the working directory); with --apply, the clean folder "
        "(default: FACES-clean)",
    )
    apply: Path | None = option(
        None, metavar="FILE.csv", help="Apply these proposals: link all faces to a new folder, except as proposed"
    )
    model: str = option(
        "sface",
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="Encoder: built-in, a run or encoder folder, or .onnx",
    )
    against: tuple[Path, ...] = option(
        (),
        metavar="FACES|FILE.h5|FILE.bin",
        help="Test set, as FACES, a store or a .bin file: propose to remove people who appear in it; may be repeated",
    )
    min_odds: float = option(
        10.0, minimum=1.0, metavar="ODDS", help="Minimum odds of a proposal based on embeddings: 10 means 10 to 1"
    )
    sheet: Path | None = option(
        None, metavar="FILE", help="Draw each case beside the faces that it contradicts (.jpg, .png, .webp, .pdf, .svg)"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.apply is None:
            if self.out is not None and self.out.suffix.lower() != ".csv":
                raise ValueError(
                    f"-o {self.out}: proposals are written to a .csv file; --apply FILE.csv writes a folder"
                )
        else:
            given = {"against": bool(self.against), "sheet": self.sheet is not None, "model": self.model != "sface"}
            for name in (name for name, is_given in given.items() if is_given):
                raise ValueError(f"--{name} is for finding proposals; omit it with --apply")
            if self.out is not None and self.out.suffix.lower() == ".csv":
                raise ValueError(f"-o {self.out}: --apply writes a folder of faces; give -o DIR")
