"""Prefetching of batches of crops to the device."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.datasets.joined_faces import JoinedFaces

_SHARE_OF_GPU = 0.4
"""Maximum share of the free GPU memory that resident crops may take; training steps need the rest."""


class BatchSupply:
    """Loads the crops of batches.

    If all crops fit into GPU memory, they are copied there once. Otherwise a thread reads the next batch from the
    packed file while the device works on the current one.

    Args:
        faces: The crops, on disk or in memory.
        device: The target device.
    """

    def __init__(self, faces: JoinedFaces, device: torch.device) -> None:
        self._faces = faces
        self._device = device
        self._resident = _copy_to_device(faces, device) if _fits(faces, device) else None

    def __call__(self, batches: Iterable[NDArray[np.int64]]) -> Generator[Tensor]:
        """Yields the crops of each batch of indices. Shape of each: (B, S, S, 3), uint8, on the device."""
        if self._resident is not None:
            for batch in batches:
                yield self._resident[torch.from_numpy(batch).to(self._device, non_blocking=True)]
            return
        with ThreadPoolExecutor(1, thread_name_prefix="supply") as thread:
            coming: Future[Tensor] | None = None
            for batch in batches:
                following = thread.submit(self._gather, batch)
                if coming is not None:
                    yield coming.result().to(self._device, non_blocking=True)
                coming = following
            if coming is not None:
                yield coming.result().to(self._device, non_blocking=True)

    def _gather(self, batch: NDArray[np.int64]) -> Tensor:
        crops = torch.from_numpy(self._faces.crops(batch))
        return crops.pin_memory() if self._device.type == "cuda" else crops


def _fits(faces: JoinedFaces, device: torch.device) -> bool:
    return device.type == "cuda" and faces.nbytes <= _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]


def _copy_to_device(faces: JoinedFaces, device: torch.device) -> Tensor:
    """Copies all crops to the device in blocks, so that host memory never holds a second copy."""
    side = faces.fingerprint.size
    crops = torch.empty((len(faces), side, side, 3), dtype=torch.uint8, device=device)
    block = 4096
    for start in range(0, len(faces), block):
        rows = np.arange(start, min(start + block, len(faces)))
        crops[start : start + block] = torch.from_numpy(faces.crops(rows)).to(device)
    return crops
