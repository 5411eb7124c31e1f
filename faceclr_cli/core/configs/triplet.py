"""Options of `faceclr train-triplet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import option
from faceclr_cli.core.configs.train import OPTIM, LabeledConfig, Optimizer

TRIPLETS = "Triplets"

Mining = Literal["random-then-hard", "random", "bank", "semi-hard", "batch-hard", "batch-all"]


@dataclass(frozen=True, kw_only=True)
class TripletConfig(LabeledConfig):
    """Learn an encoder from labeled faces with the triplet loss."""

    # Of 422 people, this got furthest on others in the same time; see README.md.
    mining: Mining = option(
        "semi-hard",
        panel=TRIPLETS,
        help="Negatives: hard ones of the batch (semi-hard, batch-*); or listed before each epoch: 'random' of all, "
        "'bank': the closest of --candidates, or first the one, then the other",
    )
    optimizer: Optimizer = option(
        "sgd", panel=OPTIM, help="How weights follow gradients; adamw for networks without batch norm, as ConvNeXt"
    )
    candidates: int = option(50, minimum=1, panel=TRIPLETS, metavar="N", help="bank: random pictures to choose from")
    pictures: int = option(
        4, minimum=2, panel=TRIPLETS, metavar="K", help="semi-hard, batch-*: of each person in a batch"
    )
    margin: float = option(
        0.2, minimum=0.0, panel=TRIPLETS, help="By how much a negative must be farther than a positive"
    )
    soft_margin: bool = option(False, panel=TRIPLETS, help="ln(1 + exp(difference)) instead of a margin")
    distance: Literal["euclidean", "cosine"] = option(
        "euclidean", panel=TRIPLETS, help="'euclidean': squared, 0 to 4; 'cosine': 0 to 2"
    )
    triplets: Path | None = option(
        None, panel=TRIPLETS, metavar="FILE.npy", help="Train on these; or keep those of the first epoch, if not there"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        processes = self.gpus or self.processes
        if not self.listed:
            if self.triplets is not None:
                raise ValueError(
                    f"--triplets: --mining {self.mining} chooses triplets anew in every batch; "
                    "random-then-hard, random and bank list them"
                )
            if self.batch_size % (self.pictures * processes) or self.batch_size // self.pictures < 2 * processes:
                raise ValueError(
                    f"--batch-size {self.batch_size} does not hold at least two people with --pictures {self.pictures} "
                    "each in every process"
                )
        elif self.batch_size < 3 * processes:
            raise ValueError(f"--batch-size {self.batch_size} does not hold a triplet for every process")

    @property
    def listed(self) -> bool:
        """Whether the triplets of an epoch are listed before it, rather than chosen in each batch."""
        return self.mining in ("random-then-hard", "random", "bank")
