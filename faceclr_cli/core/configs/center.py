"""Options of `faceclr train-center`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from faceclr_cli.core.configs.fields import option
from faceclr_cli.core.configs.train import MODEL, OPTIM, LabeledConfig, Optimizer

CLASSES = "Classification"
Head = Literal["softmax", "cosface", "arcface", "adaface"]

MARGINS = {"softmax": 0.0, "cosface": 0.35, "arcface": 0.5, "adaface": 0.4}
"""Those of the papers."""


@dataclass(frozen=True, kw_only=True)
class CenterConfig(LabeledConfig):
    """Learn an encoder from labeled faces by telling people apart."""

    hold_out: float = option(
        0.02,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Share of FACES to watch and never train on: pictures of everybody, and whole people too where there is "
        "no val part",
    )
    # The few people that are held out tell encoders apart less surely than the loss on many pictures does.
    best_by: Literal["loss", "accuracy"] = option(
        "loss",
        help="Which encoder to keep: with the least loss on held-out pictures, or telling most pairs of watched people "
        "right",
    )
    batch_size: int = option(128, minimum=2, panel=OPTIM, help="Pictures per batch, over all processes")
    # Some hundred people are soon known by heart; by SGD, and in this many epochs, what is learned serves for others.
    optimizer: Optimizer = option(
        "sgd", panel=OPTIM, help="How weights follow gradients; adamw for networks without batch norm, as ConvNeXt"
    )
    epochs: int = option(20, minimum=0, panel=OPTIM, help="Passes over the data; 0 writes the untrained network")

    head: Head = option("cosface", panel=CLASSES, help="How people are told apart; all but softmax by angles")
    scale: float = option(30.0, minimum=1.0, panel=CLASSES, help="What cosines are multiplied by; not for softmax")
    margin: float | None = option(
        None, minimum=0.0, panel=CLASSES, help="On the true person (default: cosface 0.35, arcface 0.5, adaface 0.4)"
    )
    margin_warmup: float = option(
        0.3, minimum=0.0, maximum=1.0, panel=CLASSES, metavar="SHARE", help="Share of the run in which it rises from 0"
    )
    center_weight: float = option(
        0.007,
        minimum=0.0,
        panel=CLASSES,
        help="Weight of the center loss; 0: none. The default is for softmax; with cosines it does next to nothing, "
        "and 0.7 pulls as much",
    )
    center_lr: float = option(0.5, minimum=0.0, maximum=1.0, panel=CLASSES, help="Step size of the centers")
    sample_classes: float = option(
        1.0, minimum=0.0, maximum=1.0, panel=CLASSES, metavar="SHARE",
        help="Compare with this share of the people, and always with those of the batch",
    )  # fmt: skip
    freeze: Literal["none", "backbone"] = option(
        "none", panel=MODEL, help="'backbone': train what lies behind it alone"
    )
    unfreeze_after: int | None = option(None, minimum=1, panel=MODEL, metavar="EPOCHS", help="And then all")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unfreeze_after is not None and self.freeze == "none":
            raise ValueError("--unfreeze-after: nothing is frozen; give --freeze backbone")
        if self.margin is not None and self.head == "softmax":
            raise ValueError("--margin: softmax has none; choose another --head")
