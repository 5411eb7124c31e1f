"""Options of `faceclr split`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

PARTS, EXCLUSION = "Parts", "Exclusion"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Split prepared faces into training, validation and test parts."""

    faces: Path | None = argument(None, help="Folder of prepared faces", metavar="FACES")
    out: Path | None = option(
        None,
        short="-o",
        metavar="DIR",
        help="Output folder (default: beside FACES, with '-faces' replaced by '-splits')",
    )
    by: Literal["identity", "image"] = option(
        "identity",
        panel=PARTS,
        help="What is split; 'identity': each person is in one part only; 'image': the pictures of each person are "
        "split",
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
        help="Use the official split of the dataset (CelebA's list_eval_partition.txt, VGGFace2's train/ and test/); "
        "ignores --by and the shares",
    )
    exclude: Path | None = option(
        None,
        metavar="FILE",
        panel=EXCLUSION,
        help="Exclude the people listed in FILE, one name per line (such as LFW's people.txt); case, accents, _, - "
        "and . are ignored",
    )
    drop_duplicates: bool = option(
        False,
        panel=EXCLUSION,
        help="Remove near-duplicates across parts from the earlier part (train before val before test)",
    )
    seed: int = option(0, minimum=0, panel=PARTS, help="Random seed; the same seed gives the same split on any machine")

    def __post_init__(self) -> None:
        check_limits(self)
        if abs(self.train + self.val + self.test - 1.0) > 1e-6:
            total = f"{self.train:g} + {self.val:g} + {self.test:g} = {self.train + self.val + self.test:g}"
            raise ValueError(f"--train, --val and --test must add up to 1, not {total}; 0 omits a part")
