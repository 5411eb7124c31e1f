"""Options of `faceclr pretrain`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, option
from faceclr_cli.core.configs.train import AUGMENT, MODEL, TrainConfig

CONTRAST = "Contrast"


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainConfig):
    """Learn an encoder from unlabeled faces (SimCLR, MoCo)."""

    data: tuple[Path, ...] = argument(
        (), help="Prepared faces, or train parts of splits, one or several", metavar="FACES..."
    )
    weights: str | None = option(
        None, metavar="W1,W2,...", help="Shares of several FACES in every batch (default: by their pictures)"
    )
    show_views: Path | None = option(
        None, metavar="PICTURE", help="Write what the network would see (.png, .jpg), and stop there"
    )

    # The size at which the default recipe was chosen; see README.md.
    image_size: int = option(
        64, minimum=32, panel=MODEL, metavar="PIXELS", help="Crops are resized to this side, whatever --init had"
    )

    method: Literal["simclr", "moco"] = option(
        "simclr",
        panel=CONTRAST,
        help="'simclr': a view against those of its batch; 'moco': against a queue of keys, for small batches",
    )
    loss: Literal["nt-xent", "dcl"] = option("nt-xent", panel=CONTRAST, help="'dcl': decoupled, for small batches")
    temperature: float = option(0.1, minimum=1e-3, panel=CONTRAST, help="What similarities are divided by")
    margin: float = option(
        0.0, minimum=0.0, maximum=1.0, panel=CONTRAST, help="Taken off the cosine of two views of one picture"
    )
    queue: int = option(32768, minimum=2, panel=CONTRAST, metavar="KEYS", help="Length of moco's queue")
    momentum: float = option(
        0.999, minimum=0.0, maximum=1.0, panel=CONTRAST, help="Of moco's key encoder; it rises to this from 0.1"
    )
    head: Literal["1", "2", "3", "none"] = option(
        "1", panel=MODEL, help="Layers of the projection head; 'none': the loss compares embeddings"
    )
    projection_dim: int = option(128, minimum=2, panel=MODEL, help="Length of what the head gives")

    augment: Literal["faces", "simclr"] = option(
        "faces",
        panel=AUGMENT,
        help="'faces': flip and random operations, some of which turn or shift; 'simclr': crop, flip, colors, blur",
    )
    operations: int = option(4, minimum=0, maximum=16, panel=AUGMENT, help="faces: operations for each view")
    magnitude: float = option(
        16, minimum=0.0, maximum=30.0, panel=AUGMENT, help="faces: greatest magnitude of an operation, of 30"
    )
    crop_scale: float = option(
        0.5, minimum=0.05, maximum=1.0, panel=AUGMENT, help="simclr: smallest area of a crop, as a share of the face"
    )
    jitter: float = option(
        0.5, minimum=0.0, maximum=1.0, panel=AUGMENT, help="simclr: strength of brightness, contrast and saturation"
    )
    hue: float = option(
        0.1, minimum=0.0, maximum=0.5, panel=AUGMENT, metavar="TURNS", help="simclr: largest turn of hue, either way"
    )
    gray: float = option(0.2, minimum=0.0, maximum=1.0, panel=AUGMENT, help="simclr: probability of a gray picture")
    blur: float = option(0.5, minimum=0.0, maximum=1.0, panel=AUGMENT, help="simclr: probability of Gaussian blur")
    light: float = option(
        0.0, minimum=0.0, maximum=2.0, panel=AUGMENT, help="simclr: strength of light from a random side"
    )
    rotate: float = option(
        0.0, minimum=0.0, maximum=45.0, panel=AUGMENT, metavar="DEGREES", help="simclr: largest rotation either way"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None and len(self.shares) != len(self.data or self.shares):
            raise ValueError(f"--weights {self.weights}: {len(self.shares)} for {len(self.data)} folders of faces")
        if self.loss == "dcl" and self.margin:
            raise ValueError("--margin has no effect with --loss dcl, which compares with the negatives alone")
        if self.method == "moco" and self.batch_size > self.queue:
            raise ValueError(f"--queue {self.queue} does not hold even one batch of {self.batch_size}")

    @property
    def shares(self) -> tuple[float, ...]:
        """The numbers of `weights`; none where it is not given."""
        if self.weights is None:
            return ()
        try:
            numbers = tuple(float(part) for part in self.weights.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            raise ValueError(f"--weights {self.weights}: write numbers above 0 with commas between them, as 3,1")
        return numbers
