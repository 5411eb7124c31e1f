"""Options that all trainers share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.duration import seconds
from faceclr_cli.core.configs.fields import argument, check_limits, option

MODEL, OPTIM, MACHINE, AUGMENT, WORK = "Model", "Optimization", "Machine", "Augmentation", "Keeping work"

Optimizer = Literal["adamw", "adam", "rmsprop", "adagrad", "sgd", "lars"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every trainer is told."""

    data: tuple[Path, ...] = argument((), help="Prepared faces, or the train part of a split", metavar="FACES")
    out: Path | None = option(None, short="-o", metavar="RUN", help="The run folder (default: runs/COMMAND-N)")
    val: tuple[Path, ...] = option(
        (), metavar="DIR", help="Faces of other people to watch (default: the val part beside FACES)"
    )
    hold_out: float = option(
        0.02,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Where there is no val part: share of FACES to watch and never train on",
    )

    resume: Literal["never", "yes", "auto"] = option(
        "never",
        bare="yes",
        panel=WORK,
        metavar="[auto]",
        help="Continue the run in -o from its last checkpoint; 'auto': or start it if there is none",
    )
    elastic: bool = option(False, panel=WORK, help="Let --resume go on with another number of processes")
    time_budget: str | None = option(
        None, panel=WORK, metavar="TIME", help="End by then (6h, 90m), the learning rate fitted to it; --epochs at most"
    )
    checkpoint_every: str = option("10m", panel=WORK, metavar="TIME", help="A checkpoint also within an epoch")
    keep: int = option(2, minimum=1, panel=WORK, help="Checkpoints to keep")

    backbone: str = option("resnet18", panel=MODEL, metavar="NAME", help="Any timm model by name, or nn4_small2")
    init: str = option(
        "random", panel=MODEL, metavar="random|imagenet|RUN", help="Where the backbone's weights come from"
    )
    pool: Literal["none", "mean"] = option(
        "none",
        panel=MODEL,
        help="What the embedding is made of: 'none': all of the last feature map, place by place; 'mean': its mean",
    )
    embedding_dim: int = option(512, minimum=2, panel=MODEL, help="Length of an embedding")
    image_size: int = option(
        112, minimum=32, panel=MODEL, metavar="PIXELS", help="Crops are resized to this side, whatever --init had"
    )

    epochs: int = option(50, minimum=0, panel=OPTIM, help="Passes over the data; 0 writes the untrained network")
    batch_size: int = option(256, minimum=2, panel=OPTIM, help="Pictures per batch, over all processes")
    accumulate: int = option(1, minimum=1, panel=OPTIM, help="Batches per step of the optimizer")
    optimizer: Optimizer = option("adamw", panel=OPTIM, help="How weights follow gradients")
    lr: float | None = option(
        None,
        minimum=0.0,
        panel=OPTIM,
        help="Peak learning rate (default: adamw, adam 0.001, rmsprop 0.0001, adagrad 0.05; for 256 pictures per step: "
        "sgd 0.1, lars 0.3)",
    )
    weight_decay: float | None = option(
        None,
        minimum=0.0,
        panel=OPTIM,
        help="On weights, never on norms and biases (default: adamw 0.05, sgd 0.0005, lars 1e-6, others 0)",
    )
    warmup: float = option(
        0.1,
        minimum=0.0,
        panel=OPTIM,
        metavar="STEPS",
        help="Steps of the optimizer with a rising rate; below 1: their share of the run",
    )
    clip: float = option(5.0, minimum=0.0, panel=OPTIM, metavar="NORM", help="Longest gradient; 0: any")
    seed: int = option(0, minimum=0, panel=OPTIM, help="Fixes every random choice")

    device: Literal["auto", "cpu", "cuda"] = option("auto", panel=MACHINE, help="'auto': the GPU if there is one")
    gpus: int | None = option(None, minimum=1, panel=MACHINE, help="GPUs to train on, one process each")
    processes: int = option(1, minimum=1, panel=MACHINE, help="Processes on the CPU (DDP over gloo)")
    precision: Literal["auto", "32", "bf16"] = option(
        "auto", panel=MACHINE, help="'auto': bf16 on a GPU that has it, else 32"
    )
    compile: bool = option(False, panel=MACHINE, help="Compile the backbone first: minutes, then faster steps")

    def __post_init__(self) -> None:
        check_limits(self)
        for name in ("time_budget", "checkpoint_every"):
            _require_time(name, getattr(self, name))
        if self.gpus is not None and self.processes > 1:
            raise ValueError("--gpus starts one process per GPU; --processes is for the CPU: give one of them")
        if self.gpus is not None and self.device == "cpu":
            raise ValueError("--gpus and --device cpu contradict each other")
        if self.processes > 1 and self.device == "cuda":
            raise ValueError("--processes is for the CPU; on GPUs give --gpus")
        if self.batch_size % (self.gpus or self.processes):
            raise ValueError(f"--batch-size {self.batch_size} does not divide among the processes")
        if self.elastic and self.resume == "never":
            raise ValueError("--elastic is about --resume: give both")


@dataclass(frozen=True, kw_only=True)
class LabeledConfig(TrainConfig):
    """What trainers are told that need to know who is who."""

    hold_out: float = option(
        0.05,
        minimum=0.0,
        maximum=0.5,
        metavar="SHARE",
        help="Share of FACES to watch and never train on, whole people, where there is no val part",
    )
    best_by: Literal["loss", "accuracy"] = option(
        "loss", help="Which encoder to keep: with the least loss on watched people, or telling most pairs of them right"
    )
    dropout: float = option(
        0.4,
        minimum=0.0,
        maximum=0.9,
        panel=OPTIM,
        metavar="SHARE",
        help="Features left out at random before the embedding layer, in each picture others",
    )
    lfw: Path | None = option(None, metavar="DIR", help="Prepared faces to verify the --pairs of")
    pairs: Path | None = option(None, metavar="FILE", help="Pairs of --lfw: LFW's lists, CSV or TSV")
    lfw_every: int = option(1, minimum=1, metavar="EPOCHS", help="How often to verify the --pairs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.data) > 1:
            raise ValueError(
                "names of people in several folders may or may not mean the same: give one folder "
                "(faceclr prepare makes one of several sources)"
            )
        if (self.lfw is None) != (self.pairs is None):
            raise ValueError("--lfw and --pairs belong together: pictures, and which of them to compare")


def _require_time(name: str, text: str | None) -> None:
    if text is not None:
        try:
            seconds(text)
        except ValueError as error:
            raise ValueError(f"--{name.replace('_', '-')}: {error}") from None
