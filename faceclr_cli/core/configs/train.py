"""Options of the three trainers: what they share, then what each adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

_MODEL, _OPTIM, _MACHINE, _AUGMENT = "Model", "Optimisation", "Machine", "Augmentation"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every trainer is told."""

    data: Path | None = argument(None, help="Prepared faces, or the train part of a split", metavar="FACES")
    out: Path | None = option(None, short="-o", metavar="RUN", help="The run folder (default: runs/COMMAND-N)")
    val: Path | None = option(
        None, metavar="DIR", help="Faces of other people to watch (default: the val part beside FACES)"
    )
    resume: bool = option(False, help="Continue the run in -o from its last checkpoint")

    backbone: str = option("convnext_atto", panel=_MODEL, metavar="TIMM", help="Any timm model by name")
    init: str = option(
        "random", panel=_MODEL, metavar="random|imagenet|RUN", help="Where the backbone's weights come from"
    )
    embedding_dim: int = option(512, minimum=2, panel=_MODEL, help="Length of an embedding")
    image_size: int = option(112, minimum=32, panel=_MODEL, metavar="PIXELS", help="Crops are resized to this side")

    epochs: int = option(50, minimum=0, panel=_OPTIM, help="Passes over the data; 0 writes the untrained network")
    batch_size: int = option(256, minimum=2, panel=_OPTIM, help="Pictures per step, over all processes")
    lr: float = option(1e-3, minimum=0.0, panel=_OPTIM, help="Peak learning rate of AdamW")
    weight_decay: float = option(0.05, minimum=0.0, panel=_OPTIM, help="On weights; never on norms and biases")
    warmup: float = option(
        0.1, minimum=0.0, maximum=1.0, panel=_OPTIM, metavar="SHARE", help="Share of all steps with a rising rate"
    )
    seed: int = option(0, minimum=0, panel=_OPTIM, help="Fixes every random choice")

    device: Literal["auto", "cpu", "cuda"] = option("auto", panel=_MACHINE, help="'auto': the GPU if there is one")
    gpus: int | None = option(None, minimum=1, panel=_MACHINE, help="GPUs to train on, one process each")
    processes: int = option(1, minimum=1, panel=_MACHINE, help="Processes on the CPU (DDP over gloo)")
    precision: Literal["auto", "32", "bf16"] = option(
        "auto", panel=_MACHINE, help="'auto': bf16 on a GPU that has it, else 32"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.gpus is not None and self.processes > 1:
            raise ValueError("--gpus starts one process per GPU; --processes is for the CPU: give one of them")
        if self.gpus is not None and self.device == "cpu":
            raise ValueError("--gpus and --device cpu contradict each other")
        if self.processes > 1 and self.device == "cuda":
            raise ValueError("--processes is for the CPU; on GPUs give --gpus")
        if self.batch_size % (self.gpus or self.processes):
            raise ValueError(f"--batch-size {self.batch_size} does not divide among the processes")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainConfig):
    """Learn an encoder from unlabelled faces (SimCLR)."""

    temperature: float = option(0.1, minimum=1e-3, panel=_OPTIM, help="NT-Xent's temperature")
    projection_dim: int = option(128, minimum=2, panel=_MODEL, help="Length of what the loss compares")
    projection_layers: int = option(2, minimum=1, maximum=3, panel=_MODEL, help="Layers of the projection head")
    crop_scale: float = option(
        0.5, minimum=0.05, maximum=1.0, panel=_AUGMENT, help="Smallest area of a random crop, as a share of the face"
    )
    jitter: float = option(
        0.5, minimum=0.0, maximum=1.0, panel=_AUGMENT, help="Strength of changes of brightness, contrast and saturation"
    )
    hue: float = option(
        0.1, minimum=0.0, maximum=0.5, panel=_AUGMENT, metavar="TURNS", help="Largest turn of hue, either way"
    )
    grey: float = option(0.2, minimum=0.0, maximum=1.0, panel=_AUGMENT, help="Probability of a grey picture")
    blur: float = option(0.5, minimum=0.0, maximum=1.0, panel=_AUGMENT, help="Probability of Gaussian blur")
    light: float = option(0.0, minimum=0.0, maximum=2.0, panel=_AUGMENT, help="Strength of light from a random side")
    rotate: float = option(
        0.0, minimum=0.0, maximum=45.0, panel=_AUGMENT, metavar="DEGREES", help="Largest rotation either way"
    )


@dataclass(frozen=True, kw_only=True)
class TripletConfig(TrainConfig):
    """Learn an encoder from labelled faces with the triplet loss."""

    pictures: int = option(
        4, minimum=2, panel=_OPTIM, metavar="K", help="Pictures of each person in a batch, of batch-size / K people"
    )
    margin: float = option(
        0.2, minimum=0.0, panel=_OPTIM, help="By how much a negative must be farther than a positive"
    )
    mining: Literal["batch-hard", "semi-hard", "batch-all"] = option(
        "semi-hard", panel=_OPTIM, help="Which triplets of a batch count"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        processes = self.gpus or self.processes
        if self.batch_size % (self.pictures * processes) or self.batch_size // self.pictures < 2 * processes:
            raise ValueError(
                f"--batch-size {self.batch_size} does not hold at least two people with --pictures {self.pictures} "
                "each in every process"
            )


@dataclass(frozen=True, kw_only=True)
class CenterConfig(TrainConfig):
    """Learn an encoder from labelled faces with cross-entropy and centre loss."""

    center_weight: float = option(0.003, minimum=0.0, panel=_OPTIM, help="Weight of the centre loss")
    center_lr: float = option(0.5, minimum=0.0, maximum=1.0, panel=_OPTIM, help="Step size of the centres")
