"""The architecture of an encoder network. Does not import torch, which exported encoders do not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Pool = Literal["none", "mean"]
Head = Literal["default", "linear", "none"]
Channels = Literal["rgb", "bgr"]
BackboneArgs = tuple[tuple[str, bool | int | float | str], ...]

_POOLS: dict[str, Pool] = {"none": "none", "mean": "mean"}
_HEADS: dict[str, Head] = {"default": "default", "linear": "linear", "none": "none"}
_CHANNELS: dict[str, Channels] = {"rgb": "rgb", "bgr": "bgr"}
_WHITE = 255

SFACE_BACKBONE = "sface"
"""Name of SFace's backbone."""
SFACE_PIXELS = ("rgb", "0-255")
"""Channel order and normalization in the fingerprint of the built-in encoder, whose file scales its input itself."""


@dataclass(frozen=True, kw_only=True)
class InputNormalization:
    """The pixel values that a network takes: `(pixel - mean) / std` of RGB values 0-255, in its channel order.

    The default is the range [-1, 1] of `normalize_pixels`.

    Attributes:
        channels: Channel order of the network's input.
        mean: Of red, green and blue, on the scale 0-255.
        std: Of red, green and blue, on the scale 0-255.
    """

    channels: Channels = "rgb"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    @property
    def text(self) -> str:
        """The normalization in the notation of encoder fingerprints, with mean and std on the scale 0-1."""
        return f"mean {_shorten(self.mean)} std {_shorten(self.std)}"

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {"channels": self.channels, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> InputNormalization:
        """Reads the result of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: A field is missing or of the wrong type.
        """
        mean, std = _read_triple(content["mean"]), _read_triple(content["std"])
        if not min(std) > 0:
            raise ValueError("a standard deviation is not positive")
        return cls(channels=_CHANNELS[content["channels"]], mean=mean, std=std)


def _shorten(values: tuple[float, float, float]) -> str:
    texts = [f"{value / _WHITE:.6g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else ",".join(texts)


def _read_triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The parameters that determine an encoder network.

    Attributes:
        backbone: Name of the backbone; see `build_backbone`.
        embedding_dim: Length of an embedding.
        image_size: Side of the network's input in pixels.
        pool: Pooling between the backbone's feature map and the embedding layer; see `build_backbone`.
        backbone_args: Keyword arguments of the backbone, sorted by name.
        normalization: The pixels that the backbone takes.
        head: The embedding head. `default`: the head in the paper of the backbone, or a linear layer without bias for
            backbones that were not made for faces; `linear`: a linear layer with bias; `none`: the features of the
            backbone are the embedding.
    """

    backbone: str
    embedding_dim: int
    image_size: int
    pool: Pool = "none"
    backbone_args: BackboneArgs = ()
    normalization: InputNormalization = InputNormalization()
    head: Head = "default"

    def resized(self, image_size: int, embedding_dim: int | None = None) -> Architecture:
        """Returns this architecture for another input size or another length of embeddings.

        Args:
            image_size: Side of the input in pixels.
            embedding_dim: Length of an embedding; None for that of this architecture.
        """
        dim = embedding_dim or self.embedding_dim
        head: Head = "default" if self.head == "none" and dim != self.embedding_dim else self.head
        return replace(self, image_size=image_size, embedding_dim=dim, head=head)

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {
            **asdict(self),
            "backbone_args": dict(self.backbone_args),
            "normalization": self.normalization.to_json(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Architecture:
        """Reads the result of `to_json`, also of earlier releases, which had no arguments and only one normalization.

        Raises:
            KeyError, TypeError, ValueError: A field is missing or of the wrong type.
        """
        normalization = content.get("normalization")
        return cls(
            backbone=str(content["backbone"]),
            embedding_dim=int(content["embedding_dim"]),
            image_size=int(content["image_size"]),
            pool=_POOLS[content["pool"]],
            backbone_args=tuple(sorted(dict(content.get("backbone_args", {})).items())),
            normalization=InputNormalization.from_json(normalization) if normalization else InputNormalization(),
            head=_HEADS[content.get("head", "default")],
        )
