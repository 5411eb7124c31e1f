"""Networks of other projects, as `import` measures and writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.description import Card
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import KnownPreprocessing
from faceclr_cli.core.faces.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class ImportedEncoder:
    """The records in the folder of an imported encoder, besides the network.

    Attributes:
        normalization: The pixels that the network takes.
        fingerprint: The preprocessing of its faces.
        card: The command; the training data are unknown.
        calibration: The calibration, or None.
        source: Origin of the network.
    """

    normalization: InputNormalization
    fingerprint: Fingerprint
    card: Card
    calibration: Calibration | None
    source: Mapping[str, Any]


class ForeignModel(Protocol):
    """A network of another project."""

    @property
    def form(self) -> str:
        """Its kind, such as `ONNX graph` or the name of its backbone."""
        ...

    @property
    def side(self) -> int:
        """Side of its input in pixels."""
        ...

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        ...

    @property
    def takes_bytes(self) -> bool:
        """True if its input has the values 0-255 as bytes."""
        ...

    @property
    def declared(self) -> KnownPreprocessing:
        """The preprocessing that its file states."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """Notices for the user about the file."""
        ...

    def embed(self, crops: NDArray[np.uint8], normalization: InputNormalization) -> NDArray[np.float32]:
        """Embeds crops under an assumption about the pixels.

        Args:
            crops: RGB, 0-255. Shape: (N, side, side, 3).
            normalization: The pixels that the network takes.

        Returns:
            L2-normalized embeddings. Shape: (N, dim).

        Raises:
            ModelError: The network fails.
        """
        ...

    def write(self, folder: Path, encoder: ImportedEncoder) -> None:
        """Writes the encoder folder atomically.

        Raises:
            ModelError: The written encoder does not give the embeddings of the network.
        """
        ...
