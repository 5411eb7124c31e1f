"""What must be known of a network to build it again. Knows no torch: an exported encoder runs without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Pool = Literal["none", "mean"]

NORMALIZATION = "mean 0.5 std 0.5"
"""What `normalize` does to values, as the fingerprint of an encoder states it."""

_POOLS: dict[str, Pool] = {"none": "none", "mean": "mean"}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """All that is needed to build the same network again.

    Attributes:
        backbone: What `build_backbone` builds.
        embedding_dim: Length of an embedding.
        image_size: Side in pixels of the pictures that the network sees.
        pool: What lies between the backbone's map of features and the embedding layer; see `build_backbone`.
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
        """Reads what `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: A field is missing or of the wrong type.
        """
        return cls(
            backbone=str(content["backbone"]),
            embedding_dim=int(content["embedding_dim"]),
            image_size=int(content["image_size"]),
            pool=_POOLS[content["pool"]],
        )
