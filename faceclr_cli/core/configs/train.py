"""Options that all trainers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.name_values import NameValues, parse_name_values

MODEL, TUNING, OPTIM, MACHINE = "Model", "Fine-tuning", "Optimization", "Machine"
AUGMENT, RUN = "Augmentation", "Run and checkpoints"

Tune = Literal["all", "last", "lora"]
Pixels = Literal["auto", "cached", "streamed"]
Optimizer = Literal["adamw", "adam", "rmsprop", "adagrad", "sgd", "lars"]

AUTO = "auto"
DEFAULT_EMBEDDING_DIM = 512
HISTOGRAMS = "histograms"
"""Name of the backbone without weights, and of the method of `pretrain` that computes an embedding layer for it."""
DROPOUT = 0.4


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of every trainer."""

    data: tuple[Path, ...] = argument((), help="Prepared faces, or the train part of a split", metavar="FACES")
    out: Path | None = option(None, short="-o", metavar="RUN", help="Run folder (default: runs/COMMAND-N)")
    val: tuple[Path, ...] = option(
        (), metavar="DIR", help="Validation faces, of other people (default: the val part beside FACES)"
    )
    hold_out: float = option(
        0.02,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Share of FACES to hold out for validation if there is no val part",
    )
    benchmark: tuple[Path, ...] = option(
        (),
        metavar="SET",
        help="Sets of pairs to verify during training, of other people: what faceclr benchmark reads, except stores; "
        "may be repeated",
    )
    benchmark_every: int = option(1, minimum=1, metavar="EPOCHS", help="Interval at which to verify --benchmark")
    best_by: str | None = option(
        None,
        metavar="SET|benchmark",
        help="Choose the best encoder by its accuracy on this set of --benchmark, or by the mean over the sets "
        "(default: by the validation faces)",
    )

    resume: Literal["never", "yes", "auto"] = option(
        "never",
        bare="yes",
        panel=RUN,
        metavar="[auto]",
        help="Continue the run in -o from its last checkpoint; 'auto': start a new run if there is none",
    )
    elastic: bool = option(False, panel=RUN, help="Allow --resume with a different number of processes")
    time_budget: str | None = option(
        None,
        panel=RUN,
        metavar="TIME",
        help="Stop after TIME (6h, 90m) or --epochs; the learning-rate schedule is scaled to fit",
    )
    checkpoint_every: str = option("10m", panel=RUN, metavar="TIME", help="Interval of checkpoints within an epoch")
    keep: int = option(2, minimum=1, panel=RUN, help="Number of checkpoints to keep")

    backbone: str = option(
        "resnet18",
        panel=MODEL,
        metavar="NAME",
        help="A timm model, nn4_small2, or a network for faces such as iresnet18",
    )
    backbone_args: tuple[str, ...] = option(
        (), panel=MODEL, metavar="NAME=VALUE,...", help="Arguments of the backbone, such as patch_size=2"
    )
    init: str = option(
        "random",
        panel=MODEL,
        metavar="random|imagenet|sface|ENCODER|FILE|hf-hub:USER/MODEL",
        help="Initial weights; ENCODER: a run or an encoder folder; FILE: a checkpoint of another project",
    )
    pool: Literal["none", "mean"] = option(
        "none",
        panel=MODEL,
        help="Pooling of the last feature map; 'none': flatten it; 'mean': global average pooling",
    )
    embedding_dim: int | None = option(
        None, minimum=2, panel=MODEL, help="Dimension of the embedding (default: that of --init, otherwise 512)"
    )
    image_size: int | None = option(
        None,
        minimum=32,
        panel=MODEL,
        metavar="PIXELS",
        help="Side length that crops are resized to (default: that of the encoder in --init, unless only pretrain "
        "trained it; otherwise 112)",
    )

    tune: Tune = option(
        "all",
        panel=TUNING,
        help="Weights to train from --init: all of them, only the 'last' layer, or low-rank additions (LoRA)",
    )
    layer_decay: float = option(
        1.0,
        minimum=0.1,
        maximum=1.0,
        panel=TUNING,
        metavar="FACTOR",
        help="Factor of the learning rate from one block to the block before it; below 1, early layers change less",
    )

    epochs: int = option(50, minimum=0, panel=OPTIM, help="Number of epochs; 0 writes the network without training it")
    batch_size: int = option(256, minimum=2, panel=OPTIM, help="Pictures per batch, over all processes")
    accumulate: int = option(1, minimum=1, panel=OPTIM, help="Batches per optimizer step (gradient accumulation)")
    optimizer: Optimizer = option("adamw", panel=OPTIM, help="Optimizer")
    lr: float | None = option(
        None,
        minimum=0.0,
        panel=OPTIM,
        help="Peak learning rate (default: adamw, adam 0.001, rmsprop 0.0001, adagrad 0.05; for 256 pictures per step: "
        "sgd 0.1, lars 0.3; a tenth of these rates if the encoder in --init recognizes people, or half of them at "
        "another input size)",
    )
    weight_decay: float | None = option(
        None,
        minimum=0.0,
        panel=OPTIM,
        help="Weight decay, not applied to norms and biases (default: adamw 0.05, sgd 0.0005, lars 1e-6, others 0)",
    )
    warmup: float = option(
        0.1,
        minimum=0.0,
        panel=OPTIM,
        metavar="STEPS",
        help="Number of warm-up steps; below 1: share of the run",
    )
    clip: float = option(
        5.0, minimum=0.0, panel=OPTIM, metavar="NORM", help="Maximum gradient norm; 0 disables clipping"
    )
    seed: int = option(0, minimum=0, panel=OPTIM, help="Random seed")

    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", panel=MACHINE, help="Device; 'auto': the NVIDIA or AMD GPU if available; 'mps': Apple GPU"
    )
    gpus: int | None = option(None, minimum=1, panel=MACHINE, help="Number of GPUs, with one process each")
    processes: int = option(1, minimum=1, panel=MACHINE, help="Number of processes on the CPU (DDP with gloo)")
    precision: Literal["auto", "32", "bf16"] = option(
        "auto",
        panel=MACHINE,
        help="Floating-point precision; 'auto': bf16 if the GPU supports it, and on a CPU if some steps of a long run "
        "are at least 10% faster in bf16; otherwise 32",
    )
    pixels: Pixels = option(
        "auto",
        panel=MACHINE,
        help="Decode all faces once into the cache, or each batch in worker processes; 'auto': cached if the decoded "
        "faces take at most a quarter of the free disk space",
    )
    compile: bool = option(
        False, panel=MACHINE, help="Compile the backbone, which takes minutes and makes steps faster"
    )

    @property
    def starts_from_encoder(self) -> bool:
        """True if `init` names an encoder."""
        return self.init not in ("auto", "random", "imagenet")

    @property
    def is_computed(self) -> bool:
        """True if the encoder is computed without training."""
        return False

    def __post_init__(self) -> None:
        check_limits(self)
        parse_name_values(self.backbone_args, "--backbone-args")
        if self.benchmark_name is not None and not self.has_benchmark:
            raise ValueError(f"--best-by {self.best_by}: a set of pairs must be given with --benchmark")
        if self.tune != "all" and self.init in ("auto", "random"):
            raise ValueError(f"--tune {self.tune} requires trained weights; name them with --init")
        for name in ("time_budget", "checkpoint_every"):
            _require_time(name, getattr(self, name))
        if self.gpus is not None and self.processes > 1:
            raise ValueError(
                "--gpus and --processes cannot be combined; --gpus starts one process per GPU, --processes is for "
                "the CPU"
            )
        if self.gpus is not None and self.device in ("cpu", "mps"):
            raise ValueError(f"--gpus and --device {self.device} cannot be combined; omit one of them")
        if self.processes > 1 and self.device in ("cuda", "mps"):
            raise ValueError("--processes is for the CPU; use --gpus for GPUs")
        if self.batch_size % (self.gpus or self.processes):
            raise ValueError(f"--batch-size {self.batch_size} is not divisible by the number of processes")
        if self.elastic and self.resume == "never":
            raise ValueError("--elastic requires --resume")

    @property
    def benchmark_name(self) -> str | None:
        """The set of pairs in `best_by`, or None if the validation faces choose the best encoder."""
        return self.best_by

    @property
    def lr_factor(self) -> float:
        """Factor of the default learning rate of the optimizer."""
        return 1.0

    @property
    def has_benchmark(self) -> bool:
        """True if pairs are verified during training."""
        return bool(self.benchmark)

    @property
    def input_size(self) -> int:
        """Side length that crops are resized to."""
        return self.image_size or 112

    @property
    def embedding_length(self) -> int:
        """The dimension of the embedding, if it is not that of `init`."""
        return self.embedding_dim or DEFAULT_EMBEDDING_DIM

    @property
    def backbone_arguments(self) -> NameValues:
        """The names and values in `backbone_args`."""
        return parse_name_values(self.backbone_args, "--backbone-args")


@dataclass(frozen=True, kw_only=True)
class LabeledConfig(TrainConfig):
    """Options of the trainers that need labeled faces."""

    hold_out: float = option(
        0.05,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Share of FACES to hold out for validation, as whole people, if there is no val part",
    )
    best_by: str | None = option(
        "loss",
        metavar="loss|accuracy|SET|benchmark",
        help="Criterion for the best encoder: lowest loss or highest verification accuracy on validation people, or "
        "accuracy on a set of --benchmark, or the mean over them",
    )
    dropout: float | None = option(
        None,
        minimum=0.0,
        maximum=0.9,
        panel=OPTIM,
        metavar="SHARE",
        help="Dropout rate before the embedding layer (default: 0.4)",
    )
    lfw: Path | None = option(None, metavar="DIR", help="Prepared faces that --pairs refers to")
    pairs: Path | None = option(
        None, metavar="FILE", help="Pairs of --lfw, a set like those of --benchmark: LFW's lists, CSV or TSV"
    )
    lfw_every: int = option(1, minimum=1, metavar="EPOCHS", help="Interval at which to verify --pairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.data) > 1:
            raise ValueError(
                "several folders of labeled faces are not supported, since the same name may mean different people; "
                "merge them into one folder with faceclr prepare"
            )
        if (self.lfw is None) != (self.pairs is None):
            raise ValueError("--lfw and --pairs must be given together")

    @property
    def dropout_rate(self) -> float:
        """The dropout rate; it is resolved later if training starts from an encoder that recognizes people."""
        return DROPOUT if self.dropout is None else self.dropout

    @property
    def benchmark_name(self) -> str | None:
        """The set of pairs in `best_by`, or None if the validation faces choose the best encoder."""
        return None if self.best_by in ("loss", "accuracy") else self.best_by

    @property
    def has_benchmark(self) -> bool:
        """True if pairs are verified during training."""
        return bool(self.benchmark) or self.lfw is not None


def _require_time(name: str, text: str | None) -> None:
    if text is not None:
        try:
            seconds(text)
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
