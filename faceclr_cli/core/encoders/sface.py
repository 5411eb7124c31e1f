"""The built-in encoder `sface`, run by OpenCV: starts fast, and needs neither a download nor torch."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.sface_description import DIM, NAME, SIZE, sface_calibration, sface_fingerprint
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.sface_opencv import read_sface, run_sface
from faceclr_cli.core.faces.weights import SFACE
from faceclr_cli.core.metrics.normalization import normalize_rows


class SFaceEncoder:
    """SFace (Zhong et al. 2021), run by OpenCV on the CPU.

    The file stores the weights in 8 bits; the network computes in float. `SFaceGraphEncoder` computes the same
    embeddings in less time for each crop, but takes longer to start.

    The network loads in a background thread, so that the caller can detect faces in the meantime.
    """

    name = NAME
    dim = DIM
    digest = SFACE.sha256
    fills_cores = True
    has_norms = True
    trained_on = None  # Trained on MS1M and others, whose identities are not listed by name.

    def __init__(self) -> None:
        self.fingerprint: Fingerprint = sface_fingerprint()
        thread = ThreadPoolExecutor(1, thread_name_prefix="sface")
        self._network: Future[cv2.dnn.Net] = thread.submit(read_sface)
        thread.shutdown(wait=False)

    @cached_property
    def calibration(self) -> Calibration:
        """See `Encoder.calibration`."""
        return sface_calibration()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `Encoder.embed`.

        Raises:
            ModelError: The weights are missing, or their digest is not the pinned one.
        """
        return normalize_rows(self.embed_unnormalized(crops))

    def embed_unnormalized(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds a batch; see `UnnormalizedEncoder.embed_unnormalized`.

        Raises:
            ModelError: As for `embed`.
        """
        if crops.ndim != 4 or crops.shape[1:] != (SIZE, SIZE, 3) or crops.dtype != np.uint8:
            raise ValueError(f"sface takes 8-bit crops of (batch_size, {SIZE}, {SIZE}, 3), not {crops.shape}")
        return run_sface(self._network.result(), crops)
