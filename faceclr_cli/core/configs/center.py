"""Options of `faceclr train-center`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from faceclr_cli.core.configs.fields import inherited, option
from faceclr_cli.core.configs.train import OPTIM, TUNING, LabeledConfig, Optimizer

CLASSES = "Classification"
Head = Literal["softmax", "cosface", "arcface", "adaface"]

MARGINS = {"softmax": 0.0, "cosface": 0.35, "arcface": 0.5, "adaface": 0.4}
"""Default margins, as in the papers."""


@dataclass(frozen=True, kw_only=True)
class CenterConfig(LabeledConfig):
    """Train an encoder on labeled faces by classification."""

    hold_out: float = option(
        0.02,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Share of FACES to hold out for validation: pictures of each person, and whole people if there is no val "
        "part",
    )
    # The loss on many pictures ranks encoders more reliably than the accuracy on the few held-out people.
    best_by: str | None = inherited(
        LabeledConfig,
        "best_by",
        help="Criterion for the best encoder: lowest loss on held-out pictures, highest verification accuracy on "
        "validation people, or accuracy on a set of --benchmark, or the mean over them",
    )
    batch_size: int = option(128, minimum=2, panel=OPTIM, help="Pictures per batch, over all processes")
    # A few hundred people are soon overfitted; SGD with this number of epochs generalized best to other people.
    optimizer: Optimizer = option(
        "sgd", panel=OPTIM, help="Optimizer; use adamw for networks without batch norm, such as ConvNeXt"
    )
    epochs: int = option(20, minimum=0, panel=OPTIM, help="Number of epochs; 0 writes the network without training it")

    dropout: float | None = inherited(
        LabeledConfig,
        "dropout",
        help="Dropout rate before the embedding layer (default: 0.4, or 0 if the encoder in --init recognizes people)",
    )

    head: Head = option("cosface", panel=CLASSES, help="Classification loss; all but softmax compare angles")
    scale: float = option(30.0, minimum=1.0, panel=CLASSES, help="Scale of the cosines; not for softmax")
    margin: float | None = option(
        None,
        minimum=0.0,
        panel=CLASSES,
        help="Margin of the true class (default: cosface 0.35, arcface 0.5, adaface 0.4)",
    )
    margin_warmup: float = option(
        0.3,
        minimum=0.0,
        maximum=1.0,
        panel=CLASSES,
        metavar="SHARE",
        help="Share of the run in which the margin rises from 0",
    )
    center_weight: float = option(
        0.007,
        minimum=0.0,
        panel=CLASSES,
        help="Weight of the center loss; 0 disables it. The default suits softmax; the other heads need about 0.7 "
        "for the same effect",
    )
    center_lr: float = option(0.5, minimum=0.0, maximum=1.0, panel=CLASSES, help="Learning rate of the centers")
    sample_classes: float = option(
        1.0, minimum=0.0, maximum=1.0, panel=CLASSES, metavar="SHARE",
        help="Share of the classes to sample in each step; those of the batch are always included",
    )  # fmt: skip
    robust: float | None = option(
        None,
        minimum=0.0,
        maximum=1.0,
        panel=CLASSES,
        metavar="COSINE",
        help="Guard against wrong labels: leave other classes whose center is closer to a picture than this cosine "
        "out of its loss; not for softmax (default: keep all)",
    )
    freeze: Literal["none", "backbone"] = option(
        "none", panel=TUNING, help="Part to freeze; 'backbone': train only the layers after it"
    )
    unfreeze_after: int | None = option(
        None, minimum=1, panel=TUNING, metavar="EPOCHS", help="Unfreeze the backbone after this number of epochs"
    )

    retain: float | None = option(
        None,
        minimum=0.0,
        panel=TUNING,
        metavar="WEIGHT",
        help="Weight of the cosine distance between the embeddings of a face by the encoder and by that in --init "
        "(default: 10 if that recognizes people, otherwise 0)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.retain and not self.starts_from_encoder:
            raise ValueError("--retain requires a trained encoder; name it with --init")
        if self.tune != "all" and self.freeze != "none":
            raise ValueError("--tune and --freeze cannot be combined; --tune last trains only the last layer")
        if self.unfreeze_after is not None and self.freeze == "none":
            raise ValueError("--unfreeze-after: nothing is frozen; add --freeze backbone")
        if self.margin is not None and self.head == "softmax":
            raise ValueError("--margin: softmax has no margin; choose another --head")
        if self.robust is not None and self.head == "softmax":
            raise ValueError("--robust: softmax does not compare cosines; choose another --head")
