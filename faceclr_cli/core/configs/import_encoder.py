"""Options of `faceclr import`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.name_values import parse_name_values

Color = Literal["rgb", "bgr"]

SCALES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "127.5": ((127.5,) * 3, (127.5,) * 3),
    "128": ((127.5,) * 3, (128.0,) * 3),
    "255": ((0.0,) * 3, (255.0,) * 3),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "none": ((0.0,) * 3, (1.0,) * 3),
}
"""Mean and std of red, green and blue by the name of the scale, for values 0-255."""

PIXELS, FACES, NETWORK = "Pixels", "Faces", "Network"


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """Import a face encoder made elsewhere, and measure the preprocessing it needs.

    Reads ONNX models, PyTorch checkpoints and timm models. Properties of the input that neither the file nor an option
    states are measured on labeled faces.
    """

    source: str = argument(
        help="An .onnx file, a PyTorch checkpoint (.pt, .pth, .ckpt, .safetensors), a folder with a timm model, or "
        "hf-hub:USER/MODEL",
        metavar="SOURCE",
    )
    out: Path | None = option(None, short="-o", metavar="ENCODER", help="Encoder folder to write")
    license: str = option("unknown", metavar="NAME", help="License to record for the weights, such as MIT")
    url: str | None = option(None, metavar="URL", help="Origin to record for the file")

    faces: Path | None = option(
        None,
        metavar="DIR",
        panel=FACES,
        help="Photographs or aligned crops of labeled people, for measuring the preprocessing and the thresholds",
    )
    template: str | None = option(
        None,
        metavar="NAME",
        panel=FACES,
        help="Alignment of the faces: arcface, 'eyes 0.2' or 'box 0.2', with the margin (default: measured on "
        "photographs, otherwise arcface)",
    )
    seed: int = option(0, minimum=0, panel=FACES, help="Random seed for choosing faces and for the bootstrap")

    color: Color | None = option(
        None, panel=PIXELS, help="Channel order of the network's input (default: from the file, or measured)"
    )
    scale: str | None = option(
        None,
        metavar="SCALE",
        panel=PIXELS,
        help="Pixel values of the network's input; '127.5': (x - 127.5) / 127.5; '128': (x - 127.5) / 128; "
        "'255': x / 255; 'imagenet': ImageNet's mean and std; 'none': 0-255; or MEAN/STD, of red, green and blue, "
        "such as 131,104,91/1 (default: from the file, or measured)",
    )
    size: int | None = option(
        None,
        minimum=16,
        maximum=512,
        panel=NETWORK,
        help="Side length of the network's input in pixels, if the file does not state it",
    )
    output: str | None = option(
        None, metavar="NAME", panel=NETWORK, help="Output with the embeddings, if an ONNX model has several"
    )
    backbone: str | None = option(
        None,
        metavar="NAME",
        panel=NETWORK,
        help="Network of a checkpoint (default: recognized by the names of the weights)",
    )
    backbone_args: tuple[str, ...] = option(
        (), metavar="NAME=VALUE", panel=NETWORK, help="Keyword argument of a timm backbone; may be repeated"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        if self.out is None:
            raise ValueError("give -o ENCODER, the folder to write")
        if self.scale is not None:
            parse_scale(self.scale)
        parse_name_values(self.backbone_args, "--backbone-args")


def parse_scale(text: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns the mean and std of red, green and blue, for values 0-255.

    Raises:
        ValueError: The text is neither the name of a scale nor MEAN/STD.

    Examples:
        >>> parse_scale("131,104,91/1")
        ((131.0, 104.0, 91.0), (1.0, 1.0, 1.0))
    """
    if text in SCALES:
        return SCALES[text]
    mean, slash, std = text.partition("/")
    try:
        found = _triple(mean), _triple(std)
    except ValueError:
        found = None
    if not slash or found is None or min(found[1]) <= 0:
        names = ", ".join(SCALES)
        raise ValueError(f"--scale {text}: must be one of {names}, or MEAN/STD such as 131,104,91/1")
    return found


def _triple(text: str) -> tuple[float, float, float]:
    values = [float(word) for word in text.split(",")]
    red, green, blue = values * 3 if len(values) == 1 else values
    if not all(map(math.isfinite, values)):
        raise ValueError(text)
    return red, green, blue
