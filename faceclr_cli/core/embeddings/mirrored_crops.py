"""Embeddings of crops, alone or combined with those of their mirror images, and their stability."""

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


_SHIFT = 1 / 56
"""Shift of a crop relative to its size: 2 of 112 pixels, about the error of a detector's landmarks."""


def embedding_stability(encoder: Encoder, crops: NDArray[np.uint8], embedded: Vectors | None = None) -> Vectors:
    """Measures how little the embedding of a face changes if its crop is mirrored or shifted by 2%.

    Faces that an encoder recognizes poorly have embeddings that depend on such details (compare SER-FIQ,
    arXiv 2003.09373, which varies the network instead of the picture).

    Args:
        encoder: The encoder.
        crops: RGB, 0-255. Shape: (batch_size, size, size, 3).
        embedded: The embeddings of the crops, without their mirror images, if they are known. Shape: (batch_size, dim).

    Returns:
        Mean cosine of the embedding of each crop to those of its mirror image and of two diagonal shifts, -1 to 1.
        Shape: (batch_size,).

    Raises:
        ModelError: An embedding is not finite.
    """
    size = crops.shape[1]
    step = max(1, round(_SHIFT * size))
    padded = np.pad(crops, ((0, 0), (step, step), (step, step), (0, 0)), mode="edge")
    shifted = [np.ascontiguousarray(padded[:, at : at + size, at : at + size]) for at in (0, 2 * step)]
    plain = encoder.embed(crops) if embedded is None else embedded
    others = [encoder.embed(changed) for changed in (_mirror(crops), *shifted)]
    cosines = np.mean([np.einsum("nd,nd->n", plain, other) for other in others], axis=0)
    return np.asarray(cosines, np.float32)


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
