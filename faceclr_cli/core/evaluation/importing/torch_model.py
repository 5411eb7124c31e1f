"""PyTorch networks of other projects as foreign models: an encoder folder like those of the trainers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from faceclr_cli.core.encoders.architecture import InputNormalization
from faceclr_cli.core.encoders.checkpoints.foreign_network import ForeignNetwork
from faceclr_cli.core.encoders.encoder_folder import save_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork, RangeConversion, normalize_pixels
from faceclr_cli.core.evaluation.importing.foreign_model import ImportedEncoder
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import KnownPreprocessing, scale_of

_BATCH = 32


class TorchModel:
    """A PyTorch network as a `ForeignModel`.

    Args:
        foreign: The network.
    """

    takes_bytes = False

    def __init__(self, foreign: ForeignNetwork) -> None:
        self._network: EncoderNetwork = foreign.network.eval()
        architecture, normalization = foreign.network.architecture, foreign.normalization
        self.form, self.notices = architecture.backbone, foreign.notices
        self.side, self.dim = architecture.image_size, architecture.embedding_dim
        self.declared = KnownPreprocessing(
            color=normalization.channels if normalization else None,
            scale=scale_of(normalization) if normalization else None,
            template=foreign.template,
        )

    @torch.inference_mode()
    def embed(self, crops: NDArray[np.uint8], normalization: InputNormalization) -> NDArray[np.float32]:
        """See `ForeignModel.embed`."""
        self._network.normalization = RangeConversion(normalization)
        parts = [torch.empty(0, self.dim)]
        for start in range(0, len(crops), _BATCH):
            pictures = normalize_pixels(torch.from_numpy(crops[start : start + _BATCH].copy()), self.side)
            parts.append(F.normalize(self._network(pictures).float(), dim=1))
        embeddings: NDArray[np.float32] = torch.cat(parts).numpy()
        return embeddings

    def write(self, folder: Path, encoder: ImportedEncoder) -> None:
        """See `ForeignModel.write`."""
        network = EncoderNetwork(replace(self._network.architecture, normalization=encoder.normalization))
        network.load_state_dict(self._network.state_dict())
        save_encoder(
            folder,
            network,
            encoder.fingerprint,
            card=encoder.card,
            calibration=encoder.calibration,
            source=encoder.source,
        )
