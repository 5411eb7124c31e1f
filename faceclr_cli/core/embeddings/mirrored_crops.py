"""Embeddings of crops, alone or combined with those of their mirror images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import Flip
from faceclr_cli.core.encoders.base import Encoder, UnnormalizedEncoder
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.metrics.normalization import normalize_rows

Vectors = NDArray[np.float32]


def embed_crops(encoder: Encoder, crops: NDArray[np.uint8], flip: Flip) -> tuple[Vectors, Vectors]:
    """Embeds crops.

    Args:
        encoder: The encoder.
        crops: RGB, 0-255. Shape: (batch_size, size, size, 3).
        flip: `none`; `mean`: add the normalized embeddings of a face and its mirror image; `sum`: add the embeddings
            as the network computes them, as insightface does.

    Returns:
        L2-normalized embeddings, and the L2 norms of the network's embeddings or of their sums. Norms are NaN with
        `mean`, or if the encoder normalizes inside. Shapes: (batch_size, dim), (batch_size,).

    Raises:
        ModelError: `flip` is `sum`, and the encoder normalizes inside; or an embedding is not finite.
    """
    if flip == "sum":
        require_unnormalized(encoder)
    if flip != "mean" and isinstance(encoder, UnnormalizedEncoder) and encoder.has_norms:
        vectors = encoder.embed_unnormalized(crops)
        if flip == "sum":
            vectors = vectors + encoder.embed_unnormalized(_mirror(crops))
        return normalize_rows(vectors), np.linalg.norm(vectors, axis=1)
    vectors = encoder.embed(crops)
    if flip == "mean":
        vectors = normalize_rows(vectors + encoder.embed(_mirror(crops)))
    return vectors, np.full(len(crops), np.nan, np.float32)


def require_unnormalized(encoder: Encoder) -> None:
    """Checks that an encoder supports `--flip sum`.

    Raises:
        ModelError: It normalizes embeddings inside, so that their norms are unknown.
    """
    if not (isinstance(encoder, UnnormalizedEncoder) and encoder.has_norms):
        raise ModelError(
            f"--flip sum: the encoder {encoder.name} normalizes its embeddings inside, so they cannot be added before; "
            "use --flip mean, or give the run that it was exported from"
        )


def _mirror(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(crops[:, :, ::-1])
