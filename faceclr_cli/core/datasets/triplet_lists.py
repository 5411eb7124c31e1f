"""Triplets of pictures for an epoch, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.errors import DataError

_BLOCK = 8192  # Anchors for which candidates are drawn at a time.
_NAMES = ("anchor", "positive", "negative")


class PicturesByPerson:
    """Who is in which picture, so that fellows and strangers of a picture can be drawn without trial and error.

    Args:
        labels: The person of each picture, -1 where nobody knows; those are never drawn. Shape: (N,).

    Attributes:
        pictures: Those of known people, by person. Shape: (K,).
        anchors: The pictures of people with two or more, by person. Shape: (A,).

    Raises:
        DataError: No person has two pictures, or there is no second person.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        order = np.argsort(labels, kind="stable").astype(np.int64)
        self.pictures: NDArray[np.int64] = order[np.searchsorted(labels[order], 0) :]
        people = labels[self.pictures]
        begins = np.searchsorted(people, people, side="left")
        ends = np.searchsorted(people, people, side="right")
        # Of each picture: where its person's pictures begin in `pictures`, how many there are, and its place there.
        self._begin, self._count, self._row = (np.zeros(len(labels), np.int64) for _ in range(3))
        self._begin[self.pictures], self._count[self.pictures] = begins, ends - begins
        self._row[self.pictures] = np.arange(len(self.pictures))
        self.anchors: NDArray[np.int64] = self.pictures[self._count[self.pictures] > 1]
        if not len(self.anchors) or self._count[self.pictures[0]] == len(self.pictures):
            raise DataError("triplets need two pictures of one person and one of another")

    def fellows(self, pictures: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """Another picture of the same person for each, all as likely.

        Args:
            pictures: Of people with two or more. Shape: (M,).
            generator: Where chance comes from.

        Returns:
            Shape: (M,).
        """
        rows: NDArray[np.int64] = self._begin[pictures] + generator.integers(0, self._count[pictures] - 1)
        rows += rows >= self._row[pictures]
        return self.pictures[rows]

    def strangers(self, pictures: NDArray[np.int64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        """Pictures of other people for each, drawn with replacement, all as likely.

        Args:
            pictures: Of known people. Shape: (M,).
            count: How many for each, C.
            generator: Where chance comes from.

        Returns:
            Shape: (M, C).
        """
        return self.pictures[self._strange_rows(pictures, count, generator)]

    def closest_strangers(
        self, pictures: NDArray[np.int64], count: int, bank: Tensor, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """For each, the one of some strangers whose embedding is closest.

        Args:
            pictures: Of known people. Shape: (M,).
            count: How many strangers for each, drawn as by `strangers`.
            bank: L2-normalized embeddings of `self.pictures`. Shape: (K, D).
            generator: Where chance comes from.

        Returns:
            Shape: (M,).
        """
        chosen = []
        for start in range(0, len(pictures), _BLOCK):
            block = pictures[start : start + _BLOCK]
            candidates = self._strange_rows(block, count, generator)
            rows = hardest_negatives(bank, torch.from_numpy(self._row[block]), torch.from_numpy(candidates))
            chosen.append(self.pictures[rows.numpy()])
        return np.concatenate(chosen)

    def _strange_rows(
        self, pictures: NDArray[np.int64], count: int, generator: np.random.Generator
    ) -> NDArray[np.int64]:
        own, begin = self._count[pictures, None], self._begin[pictures, None]
        rows = generator.integers(0, len(self.pictures) - own, size=(len(pictures), count))
        rows += own * (rows >= begin)
        return rows


def write_triplets(path: Path, triplets: NDArray[np.int64], digest: str) -> None:
    """Keeps triplets as a NumPy file of records: `anchor`, `positive` and `negative`, each the index of a picture.

    Args:
        path: Where to.
        triplets: Shape: (T, 3).
        digest: Of the data set. It is the title of the first field, which NumPy keeps in the header.
    """
    records = np.empty(len(triplets), _dtype(digest))
    for name, column in zip(_NAMES, triplets.T, strict=True):
        records[name] = column
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, records, allow_pickle=False)


def read_triplets(path: Path, labels: NDArray[np.int64], digest: str) -> NDArray[np.int64]:
    """Reads what `write_triplets` wrote.

    Args:
        path: Where from.
        labels: The person of each picture of the data set, -1 where nobody knows. Shape: (N,).
        digest: Of the data set.

    Returns:
        Shape: (T, 3).

    Raises:
        DataError: It is no such file, it belongs to another data set, or it holds what is no triplet.
    """
    try:
        with open(path, "rb") as file:
            records = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: no file of triplets ({error})") from error
    if records.ndim != 1 or records.dtype.names != _NAMES:
        raise DataError(f"{path}: no file of triplets: it lacks the fields anchor, positive and negative")
    if records.dtype != _dtype(digest) or records.dtype.fields is None or digest not in records.dtype.fields:
        raise DataError(f"{path}: its triplets belong to another data set; leave --triplets out, or name a new file")
    triplets = np.stack([records[name] for name in _NAMES], axis=1)
    if not len(triplets) or triplets.min() < 0 or triplets.max() >= len(labels):
        raise DataError(f"{path}: names pictures that are not there")
    anchor, positive, negative = labels[triplets].T
    wrong = (labels[triplets] < 0).any(axis=1) | (triplets[:, 0] == triplets[:, 1])
    wrong |= (anchor != positive) | (anchor == negative)
    if wrong.any():
        raise DataError(f"{path}: row {int(wrong.argmax())} is no anchor, positive and negative")
    return triplets


def _dtype(digest: str) -> np.dtype[np.void]:
    return np.dtype([((digest, "anchor"), "<i8"), ("positive", "<i8"), ("negative", "<i8")])


_VALUES = 1 << 22  # Of embeddings that are gathered at a time: 16 MiB, for larger blocks are slower to allocate.


def hardest_negatives(bank: Tensor, anchors: Tensor, candidates: Tensor) -> Tensor:
    """For each anchor, the one of its candidates whose embedding is closest.

    On the bank's device, in blocks, so that it takes little memory beside the bank.

    Args:
        bank: Embeddings of all pictures, L2-normalized. Shape: (N, D).
        anchors: Rows of the bank. Shape: (T,).
        candidates: Rows of the bank. Shape: (T, C), C > 0.

    Returns:
        Rows of the bank, on the CPU. Shape: (T,). Of equally close ones the first.
    """
    count, dim = candidates.shape[1], bank.shape[1]
    step = max(1, _VALUES // (count * dim))
    chosen = []
    for start in range(0, len(anchors), step):
        block = candidates[start : start + step].to(bank.device)
        # On the CPU, index_select copies whole rows: several times as fast as indexing with a tensor.
        rows = bank.index_select(0, block.flatten()).view(len(block), count, dim)
        own = bank.index_select(0, anchors[start : start + step].to(bank.device))
        similarities = torch.bmm(rows, own[:, :, None]).squeeze(2)
        chosen.append(block.gather(1, similarities.argmax(dim=1, keepdim=True)).squeeze(1).cpu())
    return torch.cat(chosen)
