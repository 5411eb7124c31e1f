"""A wrapper that checks the embeddings of an encoder for NaN and infinite values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.base import Encoder, UnnormalizedEncoder
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.fingerprint import Fingerprint


@dataclass(frozen=True)
class CheckedEncoder:
    """An encoder that raises an error instead of returning NaN or infinite embeddings.

    Comparisons with NaN are false, so without the check a diverged encoder would report every pair as different people.

    Attributes:
        encoder: The wrapped encoder, which provides all properties.
    """

    encoder: Encoder

    @property
    def name(self) -> str:
        """See `Encoder.name`."""
        return self.encoder.name

    @property
    def dim(self) -> int:
        """See `Encoder.dim`."""
        return self.encoder.dim

    @property
    def fingerprint(self) -> Fingerprint:
        """See `Encoder.fingerprint`."""
        return self.encoder.fingerprint

    @property
    def digest(self) -> str:
        """See `Encoder.digest`."""
        return self.encoder.digest

    @property
    def calibration(self) -> Calibration | None:
        """See `Encoder.calibration`."""
        return self.encoder.calibration

    @property
    def trained_on(self) -> Collection[str] | None:
        """See `Encoder.trained_on`."""
        return self.encoder.trained_on

    @property
    def fills_cores(self) -> bool:
        """See `Encoder.fills_cores`."""
        return self.encoder.fills_cores

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ModelError: An embedding is not finite.
        """
        return self._require_finite(self.encoder.embed(crops))

    @property
    def has_norms(self) -> bool:
        """See `UnnormalizedEncoder.has_norms`."""
        return isinstance(self.encoder, UnnormalizedEncoder) and self.encoder.has_norms

    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `UnnormalizedEncoder.embed_unnormalized`.

        Raises:
            ModelError: The encoder normalizes embeddings inside, or an embedding is not finite.
        """
        if not isinstance(self.encoder, UnnormalizedEncoder):
            raise ModelError(f"{self.name}: normalizes its embeddings inside")
        return self._require_finite(self.encoder.embed_unnormalized(crops))

    def _require_finite(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(embeddings).all():
            raise ModelError(f"{self.name}: produced NaN or infinite embeddings; training probably diverged")
        return embeddings
