"""Triplets of pictures: sampling, mining of hard negatives, and the file that stores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError

_BLOCK = 8192  # Number of anchors for which candidates are sampled at a time.
_NAMES = ("anchor", "positive", "negative")


class PicturesByPerson:
    """An index of pictures by person, for sampling positives and negatives without rejection.

    Args:
        labels: The person of each picture, -1 if unknown; unknown people are never sampled. Shape: (N,).

    Attributes:
        pictures: Pictures of known people, grouped by person. Shape: (K,).
        anchors: Pictures of people with two or more pictures, grouped by person. Shape: (A,).

    Raises:
        DataError: No person has two pictures, or there is only one person.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        order = np.argsort(labels, kind="stable").astype(np.int64)
        self.pictures: NDArray[np.int64] = order[np.searchsorted(labels[order], 0) :]
        people = labels[self.pictures]
        begins = np.searchsorted(people, people, side="left")
        ends = np.searchsorted(people, people, side="right")
        # For each picture: its person's first row in `pictures`, number of pictures, and its own row.
        self._begin, self._count, self._row = (np.zeros(len(labels), np.int64) for _ in range(3))
        self._begin[self.pictures], self._count[self.pictures] = begins, ends - begins
        self._row[self.pictures] = np.arange(len(self.pictures))
        self.anchors: NDArray[np.int64] = self.pictures[self._count[self.pictures] > 1]
        if not len(self.anchors) or self._count[self.pictures[0]] == len(self.pictures):
            raise DataError("triplets need two pictures of one person and one of another")

    def sample_positives(self, pictures: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Samples another picture of the same person for each picture, uniformly.

        Args:
            pictures: Pictures of people with two or more pictures. Shape: (M,).
            generator: Random number generator.

        Returns:
            Shape: (M,).
        """
        rows: NDArray[np.int64] = self._begin[pictures] + generator.integers(0, self._count[pictures] - 1)
        rows += rows >= self._row[pictures]
        return self.pictures[rows]

    def sample_negatives(
        self, pictures: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Samples pictures of other people for each picture, uniformly and with replacement.

        Args:
            pictures: Pictures of known people. Shape: (M,).
            count: Number of negatives per picture, C.
            generator: Random number generator.

        Returns:
            Shape: (M, C).
        """
        return self.pictures[self._negative_rows(pictures, count, generator)]

    def sample_hard_negatives(
        self, pictures: NDArray[np.int64], count: int, bank: Tensor, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Samples negatives for each picture and returns the one with the closest embedding.

        Args:
            pictures: Pictures of known people. Shape: (M,).
            count: Number of negatives sampled per picture, as by `sample_negatives`.
            bank: L2-normalized embeddings of `self.pictures`. Shape: (K, D).
            generator: Random number generator.

        Returns:
            Shape: (M,).
        """
        chosen = []
        for start in range(0, len(pictures), _BLOCK):
            block = pictures[start : start + _BLOCK]
            candidates = self._negative_rows(block, count, generator)
            rows = hardest_negatives(bank, torch.from_numpy(self._row[block]), torch.from_numpy(candidates))
            chosen.append(self.pictures[rows.numpy()])
        return np.concatenate(chosen)

    def _negative_rows(
        self, pictures: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        own, begin = self._count[pictures, None], self._begin[pictures, None]
        rows = generator.integers(0, len(self.pictures) - own, size=(len(pictures), count))
        rows += own * (rows >= begin)
        return rows


def write_triplets(path: Path, triplets: NDArray[np.int64], digest: str) -> None:
    """Writes triplets as a NumPy file of records: `anchor`, `positive` and `negative`, each the index of a picture.

    Args:
        path: The file to write.
        triplets: Shape: (T, 3).
        digest: Digest of the data set, stored as the title of the first field.
    """
    records = np.empty(len(triplets), _dtype(digest))
    for name, column in zip(_NAMES, triplets.T, strict=True):
        records[name] = column
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, records, allow_pickle=False)


def read_triplets(path: Path, labels: NDArray[np.int64], digest: str) -> NDArray[np.int64]:
    """Reads a file written by `write_triplets`.

    Args:
        path: The file to read.
        labels: The person of each picture in the data set, -1 if unknown. Shape: (N,).
        digest: Digest of the data set.

    Returns:
        Shape: (T, 3).

    Raises:
        DataError: The file does not contain triplets, belongs to another data set, or contains an invalid triplet.
    """
    try:
        with open(path, "rb") as file:
            records = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a file of triplets ({error})") from error
    if records.ndim != 1 or records.dtype.names != _NAMES:
        raise DataError(f"{path}: not a file of triplets: the fields anchor, positive and negative are missing")
    if records.dtype != _dtype(digest) or records.dtype.fields is None or digest not in records.dtype.fields:
        raise DataError(f"{path}: the triplets belong to another data set; omit --triplets, or name a new file")
    triplets = np.stack([records[name] for name in _NAMES], axis=1)
    if not len(triplets) or triplets.min() < 0 or triplets.max() >= len(labels):
        raise DataError(f"{path}: refers to pictures that do not exist")
    anchor, positive, negative = labels[triplets].T
    wrong = (labels[triplets] < 0).any(axis=1) | (triplets[:, 0] == triplets[:, 1])
    wrong |= (anchor != positive) | (anchor == negative)
    if wrong.any():
        raise DataError(f"{path}: row {int(wrong.argmax())} is not an anchor with a positive and a negative")
    return triplets


def _dtype(digest: str) -> np.dtype[np.void]:
    return np.dtype([((digest, "anchor"), "<i8"), ("positive", "<i8"), ("negative", "<i8")])


_VALUES = 1 << 22  # Number of embedding values gathered at a time: 16 MiB; larger blocks are slower to allocate.


def hardest_negatives(bank: Tensor, anchors: Tensor, candidates: Tensor) -> Tensor:
    """Returns the candidate with the closest embedding for each anchor.

    Runs on the bank's device, in blocks, so that it takes little memory in addition to the bank.

    Args:
        bank: L2-normalized embeddings of all pictures. Shape: (N, D).
        anchors: Rows of the bank. Shape: (T,).
        candidates: Rows of the bank. Shape: (T, C), C > 0.

    Returns:
        Rows of the bank, on the CPU; among equally close candidates, the first. Shape: (T,).
    """
    count, dim = candidates.shape[1], bank.shape[1]
    step = max(1, _VALUES // (count * dim))
    chosen = []
    for start in range(0, len(anchors), step):
        block = candidates[start : start + step].to(bank.device)
        # On the CPU, index_select copies whole rows and is several times as fast as indexing with a tensor.
        rows = bank.index_select(0, block.flatten()).view(len(block), count, dim)
        own = bank.index_select(0, anchors[start : start + step].to(bank.device))
        similarities = torch.bmm(rows, own[:, :, None]).squeeze(2)
        chosen.append(block.gather(1, similarities.argmax(dim=1, keepdim=True)).squeeze(1).cpu())
    return torch.cat(chosen)
