"""Embeddings of pictures in the middle of training, as use would have them: without augmentation, without dropout."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.datasets.joined import JoinedFaces
from faceclr_cli.core.encoders.network import EncoderNetwork, normalise
from faceclr_cli.core.losses.gather import gather_labels, world
from faceclr_cli.core.training.stopping import Stop

_BATCH = 256


@torch.inference_mode()
def embedded(
    network: EncoderNetwork, faces: JoinedFaces, pictures: NDArray[np.int64], device: torch.device, stop: Stop
) -> Tensor:
    """Embeddings as the network gives them. It is left in evaluation mode.

    Returns:
        Shape: (N, D), float32, on the device; zeros in what was not reached before a signal asked to stop.
    """
    network.eval()
    result = torch.zeros(len(pictures), network.architecture.embedding_dim, device=device)
    for start in range(0, len(pictures), _BATCH):
        if stop.requested():
            break
        block = slice(start, start + _BATCH)
        crops = torch.from_numpy(faces.crops(pictures[block])).to(device)
        result[block] = network(normalise(crops, network.architecture.image_size)).float()
    return result


def embedded_by_all(
    network: EncoderNetwork, faces: JoinedFaces, pictures: NDArray[np.int64], device: torch.device, stop: Stop
) -> Tensor:
    """The same, by all processes together: each embeds its share and has all of it in the end."""
    rank, processes = world()
    if processes > 1:
        # On CPUs each process has its own averages of batch norms; those of rank 0 are the encoder's.
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)
    size = -(-len(pictures) // processes)
    # Shares are equally long, so the last process may begin again from the front.
    own = pictures[np.arange(rank * size, (rank + 1) * size) % len(pictures)]
    return gather_labels(embedded(network, faces, own, device, stop))[: len(pictures)]
