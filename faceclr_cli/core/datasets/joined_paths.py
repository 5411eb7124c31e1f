"""The paths of faces of containers, which stay in the indexes of the containers because there may be millions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.sources.container_index import NameTable

_BLOCK = 65536


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedPaths(Sequence[str]):
    """Paths of faces of one or several folders and containers.

    Attributes:
        prefixes: Start of the paths of each folder.
        names: The paths inside each folder.
        sources: Index into `names` of each face. Shape: (N,).
        rows: Index of each face in its folder. Shape: (N,).
    """

    prefixes: tuple[str, ...]
    names: tuple[Sequence[str], ...]
    sources: NDArray[np.int64]
    rows: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        only = self.names[0]
        if len(self.names) == 1 and isinstance(only, NameTable):
            return (self.prefixes[0] + name for name in only.each(self.rows))
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        source = int(self.sources[place])
        return self.prefixes[source] + self.names[source][int(self.rows[place])]

    def take(self, sources: NDArray[np.int64], rows: NDArray[np.int32]) -> JoinedPaths:
        """Returns the paths of other faces of the same folders. Shape of both arguments: (N,)."""
        return replace(self, sources=sources, rows=rows)

    def digest(self) -> str:
        """Returns the SHA-256 of all names in the folders and of the rows, which determine the paths."""
        digest = hashlib.sha256()
        for prefix, names in zip(self.prefixes, self.names, strict=True):
            own = names.digest if isinstance(names, NameTable) else digest_names(names)
            digest.update(f"{prefix}\n{own}\n".encode(errors="surrogateescape"))
        if len(self.names) > 1:
            digest.update(_bytes(self.sources))
        for start in range(0, len(self.rows), _BLOCK):
            digest.update(_bytes(self.rows[start : start + _BLOCK]))
        return digest.hexdigest()


def digest_names(names: Sequence[str]) -> str:
    """Returns the SHA-256 of names in their order."""
    return hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()


def _bytes(numbers: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(numbers, dtype="<i8").tobytes()
