"""The architecture of an encoder network. Does not import torch, which exported encoders do not need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Pool = Literal["none", "mean"]

NORMALIZATION = "mean 0.5 std 0.5"
"""The normalization of `normalize_pixels`, as encoder fingerprints state it."""

_POOLS: dict[str, Pool] = {"none": "none", "mean": "mean"}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The parameters that determine an encoder network.

    Attributes:
        backbone: Name of the backbone; see `build_backbone`.
        embedding_dim: Length of an embedding.
        image_size: Side of the network's input in pixels.
        pool: Pooling between the backbone's feature map and the embedding layer; see `build_backbone`.
    """

    backbone: str
    embedding_dim: int
    image_size: int
    pool: Pool = "none"

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Architecture:
        """Reads the result of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: A field is missing or of the wrong type.
        """
        return cls(
            backbone=str(content["backbone"]),
            embedding_dim=int(content["embedding_dim"]),
            image_size=int(content["image_size"]),
            pool=_POOLS[content["pool"]],
        )
