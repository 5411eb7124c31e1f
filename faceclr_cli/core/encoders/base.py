"""What every encoder is, whatever runs it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.faces.fingerprint import Fingerprint


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

    @property
    def trained_on(self) -> Collection[str] | None:
        """The people that it was trained on, or None where nobody wrote them down."""
        ...

    @property
    def fills_cores(self) -> bool:
        """Whether all cores of this machine work on a batch together, so that what takes one of them holds up all."""
        ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch.

        Args:
            crops: Aligned faces, RGB, 0-255. Shape: (batch_size, size, size, 3), with the fingerprint's size.

        Returns:
            L2-normalized embeddings. Shape: (batch_size, dim).
        """
        ...
