"""The crops of a folder or a container, decoded on each access."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import DataError
from faceclr_cli.core.faces.decode import decode_picture, read_bytes
from faceclr_cli.core.faces.face_folder import FaceFolder, IndexedContainer
from faceclr_cli.core.sources.containers import Container, open_container
from faceclr_cli.core.text import display_path
from faceclr_cli.core.workers.capacity import cores

MOST_DAMAGED = 0.05  # Messages and documentation state this limit.
"""Maximum share of crops that may be damaged. A larger share indicates a problem with the whole data set."""

_TOGETHER = 32


class SizeError(DataError):
    """The size of a crop differs from that in the description of its folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodeRequest:
    """Crops to decode, in a compact form that can be sent to another process.

    Attributes:
        root: The folder or the container.
        side: Side length of the crops.
        rows: Places of the crops in a container. Shape: (B,).
        paths: Paths of the crops in a folder.
        stamp: The stamp of the container when it was opened.
    """

    root: Path
    side: int
    rows: NDArray[np.int64]
    paths: tuple[str, ...] | None
    stamp: str


@dataclass(frozen=True, eq=False)
class DecodedCrops:
    """Decoded crops.

    Attributes:
        crops: RGB, 0-255; zeros for damaged crops. Shape: (B, side, side, 3).
        failures: Position in `crops` of each damaged crop, and the reason.
    """

    crops: NDArray[np.uint8]
    failures: tuple[tuple[int, str], ...]


@dataclass(eq=False)
class StreamedCrops:
    """Crops that are read and decoded on demand.

    Attributes:
        folder: The crops.
        damaged: Reason of each damaged crop that was found so far, by row.
    """

    folder: FaceFolder
    damaged: dict[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of all crops as an array."""
        side = self.folder.fingerprint.size
        return len(self.folder), side, side, 3

    def request(self, rows: NDArray[Any]) -> DecodeRequest:
        """Describes crops for `decode_crops`, given their rows. Shape: (B,)."""
        folder = self.folder
        paths = None if folder.indexed is not None else tuple(folder.paths[row] for row in rows.tolist())
        return DecodeRequest(
            root=folder.root.absolute(),
            side=folder.fingerprint.size,
            rows=rows.astype(np.int64),
            paths=paths,
            stamp="" if folder.indexed is None else folder.indexed.stamp,
        )

    def note(self, row: int, reason: str) -> None:
        """Records a damaged crop.

        Raises:
            DataError: Too many crops are damaged.
        """
        self.damaged[row] = reason
        if len(self.damaged) > max(1, MOST_DAMAGED * len(self.folder)):
            raise too_many_damaged(self.folder, len(self.damaged), reason)


def too_many_damaged(folder: FaceFolder, damaged: int, reason: str) -> DataError:
    """Returns the error for a folder or a container with too many damaged crops."""
    return DataError(
        f"{display_path(folder.root)}: {damaged:,} of {len(folder):,} faces are damaged, more than 5%; the last one: "
        f"{reason}"
    )


def decode_crops(request: DecodeRequest, opened: IndexedContainer | None = None) -> DecodedCrops:
    """Decodes crops in this process. A damaged one is not an error.

    Args:
        request: The crops.
        opened: The container; without it, it is opened, and kept open for further requests.
    """
    # In ascending order, since neighboring crops of a Parquet file are read together.
    places = np.argsort(request.rows, kind="stable").tolist()
    crops = np.zeros((len(places), request.side, request.side, 3), np.uint8)

    def work(start: int) -> list[tuple[int, str]]:
        failed = []
        for place in places[start : start + _TOGETHER]:
            try:
                crops[place] = _decode_one(request, place, opened)
            except DataError as error:
                failed.append((place, str(error)))
        return failed

    if len(places) <= 2 * _TOGETHER:
        parts = [work(start) for start in range(0, len(places), _TOGETHER)]
    else:
        with ThreadPoolExecutor(min(8, cores())) as pool:
            parts = list(pool.map(work, range(0, len(places), _TOGETHER)))
    return DecodedCrops(crops, tuple(failure for part in parts for failure in part))


def read_crop(content: bytes, origin: Path | str, side: int) -> NDArray[np.uint8]:
    """Decodes a crop of a known size.

    Args:
        content: The encoded crop.
        origin: Its name in errors.
        side: Its side in pixels.

    Returns:
        RGB, 0-255. Shape: (side, side, 3).

    Raises:
        UnreadableImageError: The crop is damaged.
        SizeError: The crop has another size.
    """
    picture = decode_picture(content, origin)
    if picture.shape != (side, side, 3):
        height, width = picture.shape[:2]
        raise SizeError(f"{display_path(origin)}: is {width}x{height}, but the other faces are {side}x{side}")
    return picture


def _decode_one(request: DecodeRequest, place: int, opened: IndexedContainer | None) -> NDArray[np.uint8]:
    if request.paths is not None:
        path = request.root / request.paths[place]
        return read_crop(read_bytes(path), path, request.side)
    container, row = opened or _container(request.root, request.stamp), int(request.rows[place])
    return read_crop(container.read(row), f"{request.root}#{container.number(row):08d}", request.side)


@lru_cache(maxsize=8)
def _container(root: Path, stamp: str) -> Container:
    container = open_container(root)
    if container.stamp != stamp:
        raise DataError(f"{display_path(root)}: was changed after it was opened; run the command again")
    return container
