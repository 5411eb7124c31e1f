"""Options of `faceclr pretrain`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from faceclr_cli.core.configs.fields import argument, inherited, option, option_name, spec_of
from faceclr_cli.core.configs.train import AUGMENT, AUTO, HISTOGRAMS, MODEL, OPTIM, TUNING, TrainConfig

CONTRAST, ROUNDS = "Contrastive loss", "Rounds of clustering"
HEADS, SIMCLR = "Augmentation by heads", "Augmentation by simclr"
_TRAINING_PANELS = (CONTRAST, ROUNDS, HEADS, SIMCLR, AUGMENT, OPTIM, TUNING)
_TRAINING_OPTIONS = (
    *("weights", "benchmark_every", "best_by", "elastic", "time_budget", "checkpoint_every", "keep", "backbone_args"),
    *("pool", "head", "projection_dim", "whiten", "gpus", "processes", "compile"),
)
"""Options in other panels that have no effect without training."""
_EFFECTIVE = ("turn", "seed")
"""Options in these panels that have an effect without training."""

_NETWORK = "resnet18"


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainConfig):
    """Compute an encoder from unlabeled faces, or train one (SimCLR, MoCo)."""

    data: tuple[Path, ...] = argument(
        (), help="One or more folders of prepared faces, or train parts of splits", metavar="FACES..."
    )
    weights: str | None = option(
        None, metavar="W1,W2,...", help="Share of each FACES folder in every batch (default: by number of pictures)"
    )
    show_views: Path | None = option(
        None, metavar="PICTURE", help="Write a picture of augmented views (.png, .jpg) instead of training"
    )

    method: Literal["auto", "histograms", "simclr", "moco"] = option(
        AUTO,
        metavar="METHOD",
        help="Method; 'histograms': compute a linear layer for histograms of phase (LPQ), ridges and Gabor wavelets, "
        "without training, in minutes; 'simclr': train a network with negatives from the batch; 'moco': with negatives "
        "from a queue of keys, for small batches; 'auto': simclr if --backbone or --init is given, otherwise "
        "histograms",
    )
    backbone: str = option(
        AUTO,
        panel=MODEL,
        metavar="NAME",
        help="A timm model, nn4_small2, or a network for faces such as iresnet18; 'auto': that of --init, otherwise "
        f"{_NETWORK}",
    )
    image_size: int | None = inherited(
        TrainConfig,
        "image_size",
        help="Side length that crops are resized to (default: that of the encoder in --init, unless only pretrain "
        "trained it; otherwise 64; histograms: 112)",
    )

    loss: Literal["nt-xent", "dcl"] = option(
        "nt-xent", panel=CONTRAST, help="Loss; 'dcl': decoupled contrastive loss, for small batches"
    )
    temperature: float = option(0.1, minimum=1e-3, panel=CONTRAST, help="Temperature of the loss")
    margin: float = option(
        0.0, minimum=0.0, maximum=1.0, panel=CONTRAST, help="Margin subtracted from the cosine of positive pairs"
    )
    queue: int = option(32768, minimum=2, panel=CONTRAST, metavar="KEYS", help="moco: length of the queue")
    momentum: float = option(
        0.999,
        minimum=0.0,
        maximum=1.0,
        panel=CONTRAST,
        help="moco: momentum of the key encoder, which rises to this value from 0.1",
    )
    rounds: int = option(
        0,
        minimum=0,
        panel=ROUNDS,
        metavar="N",
        help="Divide the run into N + 1 parts; every part but the first starts by clustering the faces, and trains on "
        "telling the clusters apart",
    )
    cluster_weight: float = option(
        1.0, minimum=0.0, panel=ROUNDS, metavar="WEIGHT", help="Weight of the loss on the clusters"
    )
    positives: Literal["views", "clusters"] = option(
        "views",
        panel=ROUNDS,
        help="Positive pairs of the contrastive loss; 'views': the two views of a picture; 'clusters': also pictures "
        "of one cluster, which are sampled in pairs",
    )
    cluster_margin: float = option(
        0.2,
        minimum=0.0,
        maximum=1.0,
        panel=ROUNDS,
        metavar="COSINE",
        help="Margin of the loss on the clusters (CosFace)",
    )
    head: Literal["1", "2", "3", "none"] = option(
        "1", panel=MODEL, help="Layers of the projection head; 'none': apply the loss to the embeddings"
    )
    projection_dim: int = option(128, minimum=2, panel=MODEL, help="Output dimension of the projection head")
    whiten: float = option(
        0.0,
        minimum=0.0,
        maximum=0.5,
        panel=MODEL,
        metavar="POWER",
        help="Divide each principal direction of the embeddings by its variance to this power, which gives weak "
        "directions more weight; 0.5: equal variances; 0: leave the embeddings as they are",
    )

    augment: Literal["faces", "heads", "simclr"] = option(
        "faces",
        panel=AUGMENT,
        help="Recipe; 'faces': flip and random operations (RandAugment); 'heads': also other poses, light and cameras; "
        "'simclr': crop, flip, color jitter, blur",
    )
    operations: int = option(4, minimum=0, maximum=16, panel=AUGMENT, help="faces, heads: operations per view")
    magnitude: float = option(
        16,
        minimum=0.0,
        maximum=30.0,
        panel=AUGMENT,
        help="faces, heads: maximum magnitude of an operation, from 0 to 30",
    )
    turn: float = option(
        30.0,
        minimum=0.0,
        maximum=45.0,
        panel=HEADS,
        metavar="DEGREES",
        help="Maximum turn of the head to either side, and twice the maximum nod; also for --method histograms",
    )
    relight: float = option(
        0.6, minimum=0.0, maximum=1.0, panel=HEADS, help="Maximum share of light from a random direction"
    )
    cast: float = option(0.2, minimum=0.0, maximum=1.0, panel=HEADS, help="Strength of the color cast")
    occlude: float = option(
        0.2, minimum=0.0, maximum=1.0, panel=HEADS, help="Probability of a shape in front of the face"
    )
    degrade: float = option(
        0.2,
        minimum=0.0,
        maximum=1.0,
        panel=HEADS,
        help="Probability of a loss of resolution, and of JPEG compression",
    )
    crop_scale: float = option(
        0.5, minimum=0.05, maximum=1.0, panel=SIMCLR, help="Minimum area of a crop, as a share of the picture"
    )
    jitter: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=SIMCLR,
        help="Strength of brightness, contrast and saturation jitter",
    )
    hue: float = option(
        0.1,
        minimum=0.0,
        maximum=0.5,
        panel=SIMCLR,
        metavar="TURNS",
        help="Maximum hue shift in either direction",
    )
    gray: float = option(0.2, minimum=0.0, maximum=1.0, panel=SIMCLR, help="Probability of grayscale")
    blur: float = option(0.5, minimum=0.0, maximum=1.0, panel=SIMCLR, help="Probability of Gaussian blur")
    light: float = option(
        0.0, minimum=0.0, maximum=2.0, panel=SIMCLR, help="Strength of directional light from a random side"
    )
    rotate: float = option(
        0.0,
        minimum=0.0,
        maximum=45.0,
        panel=SIMCLR,
        metavar="DEGREES",
        help="Maximum rotation in either direction",
    )

    @property
    def input_size(self) -> int:
        """Side length that crops are resized to. The default recipe was tuned at 64; `histograms` has no recipe."""
        return self.image_size or (super().input_size if self.is_computed else 64)

    @property
    def is_computed(self) -> bool:
        """True if the method is `histograms`, or will be. See `TrainConfig.is_computed`."""
        if self.method == AUTO:
            return self.backbone == HISTOGRAMS or (self.backbone == AUTO and self.init == "random")
        return self.method == HISTOGRAMS

    def with_method(self) -> Self:
        """Returns the options with the method and the backbone in place of `auto`."""
        if self.is_computed:
            return replace(self, method="histograms", backbone=HISTOGRAMS)
        backbone = _NETWORK if self.backbone == AUTO else self.backbone
        return replace(self, method="simclr" if self.method == AUTO else self.method, backbone=backbone)

    def without_training(self) -> tuple[Self, tuple[str, ...]]:
        """Returns the options of an encoder that is computed without training, and a notice of those without effect.

        The latter get their defaults. They may come from a configuration file that other runs share.
        """
        defaults: dict[str, Any] = {}
        for field in fields(self):
            is_for_training = spec_of(field).panel in _TRAINING_PANELS or field.name in _TRAINING_OPTIONS
            if is_for_training and field.name not in _EFFECTIVE and getattr(self, field.name) != field.default:
                defaults[field.name] = field.default
        names = tuple(name for name in defaults if (name, getattr(self, name)) != ("epochs", 0))
        if self.precision == "bf16":
            names += ("precision",)
        unused = ", ".join(f"--{option_name(name)}" for name in names)
        notices = (f"{unused}: no effect with --method {HISTOGRAMS}, only with --method simclr",) if unused else ()
        return replace(self, **{**defaults, "epochs": 0, "precision": "32"}), notices

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_computed and self.init != "random":
            raise ValueError(f"--init {self.init}: --method {HISTOGRAMS} has no weights to start from; omit --init")
        if self.is_computed and self.backbone not in (AUTO, HISTOGRAMS):
            raise ValueError(f"--backbone {self.backbone}: --method {HISTOGRAMS} has no network; omit one of them")
        if not self.is_computed and self.backbone == HISTOGRAMS:
            raise ValueError(f"--backbone {HISTOGRAMS} has no weights to train; omit it, or --method {self.method}")
        if self.tune == "last":
            raise ValueError("--tune last: pretrain never trains the last layer; choose all or lora")
        if self.weights is not None and len(self.shares) != len(self.data or self.shares):
            raise ValueError(
                f"--weights {self.weights}: {len(self.shares)} weights for {len(self.data)} folders of faces; give one "
                "weight for each folder"
            )
        if self.rounds and self.method == "moco":
            raise ValueError("--rounds requires --method simclr")
        if self.positives == "clusters" and not self.rounds:
            raise ValueError("--positives clusters requires --rounds")
        if self.positives == "clusters" and self.weights is not None:
            raise ValueError("--positives clusters and --weights cannot be combined; omit one of them")
        if 0 < self.epochs <= self.rounds:
            raise ValueError(f"--rounds {self.rounds}: requires more epochs than rounds, but --epochs is {self.epochs}")
        if self.loss == "dcl" and self.margin:
            raise ValueError("--margin has no effect with --loss dcl; omit it")
        if self.method == "moco" and self.batch_size > self.queue:
            raise ValueError(f"--queue {self.queue}: must be at least --batch-size {self.batch_size}")

    @property
    def shares(self) -> tuple[float, ...]:
        """The numbers in `weights`; empty if it is not given.

        Raises:
            ValueError: `weights` is not a list of positive numbers.
        """
        if self.weights is None:
            return ()
        try:
            numbers = tuple(float(part) for part in self.weights.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            raise ValueError(f"--weights {self.weights}: must be positive numbers separated by commas, such as 3,1")
        return numbers
