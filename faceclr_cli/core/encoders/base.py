"""The interface of all encoders."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.faces.fingerprint import Fingerprint


class Encoder(Protocol):
    """Maps crops to embeddings."""

    @property
    def name(self) -> str:
        """Name for tables and file names."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """The preprocessing that the encoder expects: how crops are made, and how their pixels are normalized."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the weights. Encoders with equal digests and fingerprints compute the same embeddings."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """Measured thresholds and match probability, or None if the encoder is not calibrated."""
        ...

    @property
    def trained_on(self) -> Collection[str] | None:
        """Names of the people it was trained on, or None if they are unknown."""
        ...

    @property
    def fills_cores(self) -> bool:
        """True if the encoder uses all cores for one batch, so that other work on any core slows it down."""
        ...

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch.

        Args:
            crops: Aligned faces, RGB, 0-255. Shape: (batch_size, size, size, 3), where size is that of the fingerprint.

        Returns:
            L2-normalized embeddings. Shape: (batch_size, dim).
        """
        ...


@runtime_checkable
class UnnormalizedEncoder(Protocol):
    """An encoder that can return embeddings as the network computes them. Not all encoders can."""

    @property
    def has_norms(self) -> bool:
        """False if the network normalizes embeddings itself, so that their norms are unknown."""
        ...

    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch without L2 normalization; `Encoder.embed` returns the same vectors with a norm of 1.

        The norm grows with the quality of the picture in networks trained with margins (MagFace, arXiv 2103.06627;
        AdaFace, arXiv 2204.00964).

        Args:
            crops: See `Encoder.embed`.

        Returns:
            Shape: (batch_size, dim).
        """
        ...
