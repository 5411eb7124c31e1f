"""What every encoder is, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.faces.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a threshold means.

    Attributes:
        threshold: Least cosine similarity at which two faces count as the same person.
        far: Share of impostor pairs accepted at that threshold.
        tar: Share of genuine pairs accepted at that threshold.
        source: The pairs that it was measured on, for people.
    """

    threshold: float
    far: float
    tar: float
    source: str

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Calibration:
        """Reads what `to_json` gave.

        Raises:
            TypeError, ValueError: A field is missing, unknown or not a number.
        """
        fields = dict(content)
        source = str(fields.pop("source"))
        return cls(source=source, **{name: float(value) for name, value in fields.items()})


class Encoder(Protocol):
    """Maps crops to embeddings."""

    @property
    def name(self) -> str:
        """What to call it in tables and in the names of files."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """How crops must be made for it, and what it does to them before its network."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of its weights: two encoders with the same digest and fingerprint give the same embeddings."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """Its threshold and what that means, or None where nobody measured it."""
        ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch.

        Args:
            crops: Aligned faces, RGB, 0-255. Shape: (batch_size, size, size, 3), with the fingerprint's size.

        Returns:
            L2-normalised embeddings. Shape: (batch_size, dim).
        """
        ...
