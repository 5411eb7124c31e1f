"""Prefetching of batches of crops to the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.datasets.streamed_crops import DecodedCrops, DecodeRequest, decode_crops
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.pool import Pending, Processes, Team

_SHARE_OF_GPU = 0.4
"""Maximum share of the free GPU memory that resident crops may take; training steps need the rest."""

_AHEAD = 4
"""Number of batches that are decoded in advance, which bounds the memory."""

_TOGETHER = 64
"""Crops for each task of a decoding process."""

_Parts = list[tuple[NDArray[np.intp], DecodeRequest, Pending[list[DecodedCrops]]]]


class BatchSupply:
    """Loads the crops of batches.

    If all crops fit into GPU memory, they are copied there once. Otherwise a thread reads the next batch from the
    packed file while the device works on the current one. Streamed crops are decoded in processes, some batches ahead,
    and arrive in the order of the batches, regardless of the number of processes.

    Args:
        faces: The crops, on disk, in memory or streamed.
        device: The target device.
        decoders: Number of processes for streamed crops, which start when they are needed.
    """

    def __init__(self, faces: JoinedFaces, device: torch.device, decoders: int = 1) -> None:
        self._faces = faces
        self._device = device
        self._decoders = decoders
        self._stack = ExitStack()
        self._team: Team | None = None
        self._resident = _copy_to_device(faces, device) if _fits(faces, device) else None

    def __call__(self, batches: Iterable[NDArray[np.int64]]) -> Generator[Tensor]:
        """Yields the crops of each batch of indices. Shape of each: (B, S, S, 3), uint8, on the device."""
        if self._resident is not None:
            for batch in batches:
                yield self._resident[torch.from_numpy(batch).to(self._device, non_blocking=True)]
            return
        for crops in self._streamed(batches) if self._faces.streamed else self._mapped(batches):
            yield crops.to(self._device, non_blocking=True)

    def close(self) -> None:
        """Ends the processes."""
        self._team = None
        self._stack.close()

    def damaged(self) -> list[tuple[str, dict[int, str]]]:
        """Returns the damaged streamed crops that any process has found so far. All processes must call it.

        Returns:
            The path of each folder, and the reason by the row of each damaged crop.
        """
        own = [(display_path(each.folder.root), each.damaged) for each in self._faces.streamed]
        if own and dist.is_available() and dist.is_initialized():
            every: list[list[tuple[str, dict[int, str]]]] = [own] * dist.get_world_size()
            dist.all_gather_object(every, own)
            for theirs in every:
                for (_, damaged), (_, found) in zip(own, theirs, strict=True):
                    damaged.update(found)
        return own

    def _mapped(self, batches: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        with ThreadPoolExecutor(1, thread_name_prefix="supply") as thread:
            coming = None
            for batch in batches:
                following = thread.submit(lambda batch: self._pinned(self._faces.crops(batch)), batch)
                if coming is not None:
                    yield coming.result()
                coming = following
            if coming is not None:
                yield coming.result()

    def _streamed(self, batches: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        if self._team is None:
            self._team = self._stack.enter_context(Processes(self._decoders).start())
        waiting: deque[tuple[NDArray[np.int64], _Parts]] = deque()
        for batch in batches:
            waiting.append((batch, self._ask(self._team, batch)))
            if len(waiting) > _AHEAD:
                yield self._assembled(self._team, *waiting.popleft())
        while waiting:
            yield self._assembled(self._team, *waiting.popleft())

    def _ask(self, team: Team, batch: NDArray[np.int64]) -> _Parts:
        # Crops that are close to each other in a container are decoded by one process.
        order = np.argsort(batch, kind="stable")
        return [
            (some[places], request, team.submit(decode_crops, [request]))
            for some in (order[start : start + _TOGETHER] for start in range(0, len(batch), _TOGETHER))
            for places, request in self._faces.requests(batch[some])
        ]

    def _assembled(self, team: Team, batch: NDArray[np.int64], parts: _Parts) -> Tensor:
        decoded = []
        for places, request, pending in parts:
            try:
                (crops,) = pending.result()
            except team.died:
                crops = _retry(team, request)
            decoded.append((places, crops))
        return self._pinned(self._faces.assemble(batch, decoded))

    def _pinned(self, crops: NDArray[np.uint8]) -> Tensor:
        tensor = torch.from_numpy(crops)
        return tensor.pin_memory() if self._device.type == "cuda" else tensor


def _retry(team: Team, request: DecodeRequest) -> DecodedCrops:
    """Decodes crops again whose process died: it may have received a signal, or a crop may have crashed it."""
    try:
        (crops,) = team.retry(decode_crops, request).result()
    except team.died:
        reason = f"{display_path(request.root)}: a process died while it decoded this crop"
        empty = np.zeros((len(request.rows), request.side, request.side, 3), np.uint8)
        return DecodedCrops(empty, tuple((place, reason) for place in range(len(empty))))
    return crops


def _fits(faces: JoinedFaces, device: torch.device) -> bool:
    if device.type != "cuda" or faces.streamed:
        return False
    return faces.nbytes <= _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]


def _copy_to_device(faces: JoinedFaces, device: torch.device) -> Tensor:
    """Copies all crops to the device in blocks, so that host memory never holds a second copy."""
    side = faces.fingerprint.size
    crops = torch.empty((len(faces), side, side, 3), dtype=torch.uint8, device=device)
    block = 4096
    for start in range(0, len(faces), block):
        rows = np.arange(start, min(start + block, len(faces)))
        crops[start : start + block] = torch.from_numpy(faces.crops(rows)).to(device)
    return crops
