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
    """Train an encoder on labeled faces with the triplet loss."""

    # Trained on 422 people, semi-hard mining was the most accurate on other people after the same time.
    mining: Mining = option(
        "semi-hard",
        panel=TRIPLETS,
        help="Choice of negatives; semi-hard, batch-*: from the batch; random: from all pictures; bank: the closest of "
        "--candidates; random-then-hard: random until the validation loss stalls, then bank",
    )
    optimizer: Optimizer = option(
        "sgd", panel=OPTIM, help="Optimizer; use adamw for networks without batch norm, such as ConvNeXt"
    )
    candidates: int = option(
        50, minimum=1, panel=TRIPLETS, metavar="N", help="bank: number of random pictures to choose a negative from"
    )
    pictures: int = option(
        4, minimum=2, panel=TRIPLETS, metavar="K", help="semi-hard, batch-*: pictures per person in a batch"
    )
    margin: float = option(
        0.2, minimum=0.0, panel=TRIPLETS, help="Margin between the distances of the negative and the positive"
    )
    soft_margin: bool = option(False, panel=TRIPLETS, help="Use ln(1 + exp(difference)) instead of a margin")
    distance: Literal["euclidean", "cosine"] = option(
        "euclidean",
        panel=TRIPLETS,
        help="Distance; 'euclidean': squared Euclidean distance, 0 to 4; 'cosine': cosine distance, 0 to 2",
    )
    triplets: Path | None = option(
        None,
        panel=TRIPLETS,
        metavar="FILE.npy",
        help="Train on the triplets in FILE; if it does not exist, save those of the first epoch to it",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        processes = self.gpus or self.processes
        if not self.lists_triplets:
            if self.triplets is not None:
                raise ValueError(
                    f"--triplets: --mining {self.mining} selects triplets in each batch; use random-then-hard, random "
                    "or bank"
                )
            if self.batch_size % (self.pictures * processes) or self.batch_size // self.pictures < 2 * processes:
                raise ValueError(
                    f"--batch-size {self.batch_size}: each process needs at least two people with --pictures "
                    f"{self.pictures} each; choose another multiple"
                )
        elif self.batch_size < 3 * processes:
            raise ValueError(f"--batch-size {self.batch_size}: each process needs at least one triplet (3 pictures)")

    @property
    def lists_triplets(self) -> bool:
        """True if triplets are listed before each epoch instead of being selected in each batch."""
        return self.mining in ("random-then-hard", "random", "bank")
