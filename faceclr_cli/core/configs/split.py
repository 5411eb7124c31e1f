"""Options of `faceclr split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

PARTS, OUT = "Parts", "Keeping out"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Divide prepared faces into train, validation and test parts."""

    faces: Path | None = argument(None, help="A folder that `faceclr prepare` wrote", metavar="FACES")
    out: Path | None = option(
        None, short="-o", metavar="DIR", help="Where the parts go (default: beside FACES, '-faces' made '-splits')"
    )
    by: Literal["identity", "image"] = option(
        "identity",
        panel=PARTS,
        help="'identity': no person is in two parts; 'image': each person's pictures are divided",
    )
    train: float = option(
        0.7, minimum=0.0, maximum=1.0, metavar="SHARE", panel=PARTS, help="Share of the training part"
    )
    val: float = option(
        0.1, minimum=0.0, maximum=1.0, metavar="SHARE", panel=PARTS, help="Share of the validation part"
    )
    test: float = option(0.2, minimum=0.0, maximum=1.0, metavar="SHARE", panel=PARTS, help="Share of the test part")
    official: bool = option(
        False,
        panel=PARTS,
        help="Divide as the source did itself (CelebA's list_eval_partition.txt, VGGFace2's train/ and test/); "
        "--by and the shares don't count then",
    )
    exclude: Path | None = option(
        None,
        metavar="FILE",
        panel=OUT,
        help="Keep out the people that this file names, a line each (such as LFW's people.txt); case, accents, "
        "_ - and . don't count",
    )
    drop_duplicates: bool = option(
        False, panel=OUT, help="Leave near-duplicates out of the earlier part (train before val before test)"
    )
    seed: int = option(0, minimum=0, panel=PARTS, help="The same seed gives the same split on any machine")

    def __post_init__(self) -> None:
        check_limits(self)
        if abs(self.train + self.val + self.test - 1.0) > 1e-6:
            total = f"{self.train:g} + {self.val:g} + {self.test:g} = {self.train + self.val + self.test:g}"
            raise ValueError(f"--train, --val and --test must add up to 1, not {total}; 0 leaves a part out")
