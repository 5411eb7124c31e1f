"""Options of `faceclr distill`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from faceclr_cli.core.configs.fields import argument, inherited, option
from faceclr_cli.core.configs.train import AUGMENT, AUTO, MODEL, OPTIM, TrainConfig

TEACHER = "Teacher"

_SFACE, _SFACE_SIZE = "sface", 48
_OTHER_BACKBONE = "resnet10t"


@dataclass(frozen=True, kw_only=True)
class DistillConfig(TrainConfig):
    """Train a small encoder to embed as a teacher does, without labels."""

    data: tuple[Path, ...] = argument(
        (), help="One or more folders of prepared faces, or train parts of splits", metavar="FACES..."
    )
    teacher: tuple[str, ...] = option(
        ("sface",), panel=TEACHER, metavar="MODEL", help="Encoder to imitate; may be given several times"
    )
    teacher_views: bool = option(
        False,
        panel=TEACHER,
        help="The teacher embeds the same augmented views as the student, instead of each face once; slower per step",
    )
    relation: float = option(
        0.0,
        minimum=0.0,
        panel=TEACHER,
        metavar="WEIGHT",
        help="Weight of a second loss, the mean squared error of the similarities between the faces of a batch",
    )
    degrade: float = option(
        0.0,
        minimum=0.0,
        maximum=1.0,
        panel=AUGMENT,
        metavar="SHARE",
        help="Share of the student's views that are gray, blurred and of low resolution, as from a security camera",
    )
    backbone: str = option(
        AUTO,
        panel=MODEL,
        metavar="NAME",
        help="A timm model, nn4_small2, or a network for faces; 'auto': that of --init, otherwise resnet10t",
    )
    init: str = option(
        AUTO,
        panel=MODEL,
        metavar="auto|random|imagenet|sface|ENCODER|FILE|hf-hub:USER/MODEL",
        help="Initial weights, as for the other trainers; 'auto': sface at 48 pixels if it is the only teacher and no "
        "backbone is chosen, otherwise random",
    )
    embedding_dim: int | None = inherited(
        TrainConfig,
        "embedding_dim",
        help="Dimension of the embedding (default: that of --init, otherwise the largest of the teachers')",
    )
    image_size: int | None = inherited(
        TrainConfig,
        "image_size",
        help="Side length that crops are resized to (default: 48 if --init auto chooses sface; that of an encoder in "
        "--init, unless only pretrain trained it; otherwise 112)",
    )
    epochs: int = option(20, minimum=0, panel=OPTIM, help="Number of epochs; 0 writes the network without training it")
    batch_size: int = option(128, minimum=2, panel=OPTIM, help="Pictures per batch, over all processes")
    lr: float | None = inherited(
        TrainConfig,
        "lr",
        help="Peak learning rate (default: adamw, adam 0.002, rmsprop 0.0002, adagrad 0.1; for 256 pictures per step: "
        "sgd 0.2, lars 0.6; a tenth of these rates if the encoder in --init recognizes people, or half of them at "
        "another input size)",
    )

    @property
    def lr_factor(self) -> float:
        """Factor of the default learning rate. Targets are the same in every epoch, so larger steps stay stable."""
        return 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.teacher:
            raise ValueError("--teacher: name at least one encoder")
        if len(set(self.teacher)) < len(self.teacher):
            raise ValueError("--teacher: the same encoder is given twice")
        if self.tune == "last":
            raise ValueError("--tune last: a student learns with all its layers; choose all or lora")

    def with_student(self) -> Self:
        """Returns the options with the network and the initial weights of the student in place of `auto`.

        Of the students of `sface` that embed at least five times as fast, `sface` itself with smaller pictures learned
        fastest (docs/benchmarks.md).
        """
        has_network = self.backbone != AUTO or self.backbone_args or self.pool != "none"
        init = self.init
        if init == AUTO:
            init = "random" if has_network or self.teacher != (_SFACE,) else _SFACE
        backbone = _OTHER_BACKBONE if self.backbone == AUTO else self.backbone
        size = _SFACE_SIZE if self.init == AUTO and init == _SFACE else None
        return replace(self, init=init, backbone=backbone, image_size=self.image_size or size)
