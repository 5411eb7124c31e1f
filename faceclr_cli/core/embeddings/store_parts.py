"""The parts of a store under construction: files in a folder beside it that are joined at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from faceclr_cli.core.artifacts import exclusive, remove_temporaries
from faceclr_cli.core.embeddings import hdf5_columns as columns
from faceclr_cli.core.embeddings.block import Block
from faceclr_cli.core.embeddings.hdf5_columns import Shape, read_people, read_texts
from faceclr_cli.core.embeddings.store import StoreOrigin, new_store, open_store, store_parts_folder
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.text import display_path

_LEAST, _MOST_PARTS = 2048, 256
NAMED_FAILURES = 5


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Totals over all parts.

    Attributes:
        faces: Number of rows.
        people: Number of people; 0 if they are unknown.
        kept: Number of rows from earlier runs.
        bad: Number of pictures without a face.
        failures: Reasons for the first of these pictures.
        gone: Rows of the existing store whose picture is not in the input.
    """

    faces: int
    people: int
    kept: int
    bad: int
    failures: tuple[str, ...]
    gone: int = 0


def part_size(pictures: int, processes: int) -> int:
    """Returns the number of pictures in each part, which limits the work that a killed process loses.

    The number of parts is limited by the number of files that can be open at once. With few pictures, parts are small
    enough for each process to have some.
    """
    return max(min(_LEAST, -(-pictures // processes)), -(-pictures // _MOST_PARTS))


@contextmanager
def open_store_parts(out: Path) -> Iterator[StoreParts]:
    """Locks a store against other runs for the duration of the block.

    Parts that exist at the end are kept for the next run.

    Raises:
        DataError: The folder beside the store cannot be created.
        LockedError: Another run is writing the store.
    """
    folder = store_parts_folder(out)
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder))
        except OSError as error:
            raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
        # Left behind by killed runs.
        remove_temporaries(out.parent, out.name)
        remove_temporaries(folder)
        try:
            yield StoreParts(out)
        finally:
            with suppress(OSError):
                folder.rmdir()


class StoreParts:
    """The parts of a store under construction. Parts of earlier runs are not modified.

    Args:
        out: The store.
        run: Number of the run, the same in all its processes; None for the next unused number.

    Attributes:
        folder: Folder of the parts.
        run: Number of the run.
    """

    def __init__(self, out: Path, run: int | None = None) -> None:
        self.folder = store_parts_folder(out)
        self._out = out
        former = (int(path.name.split("-")[0]) for path in self.folder.glob("[0-9]*-*.h5"))
        self.run = run or max(former, default=0) + 1

    def path(self, number: int) -> Path:
        """Returns the path of a part."""
        return self.folder / f"{self.run:04d}-{number:06d}.h5"

    def write(self, number: int, block: Block, origin: StoreOrigin, shape: Shape) -> None:
        """Writes one part.

        Args:
            number: Index of the part.
            block: Content of the part.
            origin: Metadata of the part.
            shape: Shape of the part, except for the number of rows.

        Raises:
            DataError: The part cannot be written.
        """
        with new_store(self.path(number), origin) as file:
            columns.create_datasets(file, replace(shape, rows=len(block.rows)))
            columns.write_rows(file, 0, block.rows)
            named = block.failures[:NAMED_FAILURES]
            file.attrs.update(kept=block.kept, bad=len(block.failures), failures=json.dumps(named))

    def made(self) -> int:
        """Returns the number of finished parts of this run."""
        return sum(1 for _ in self.folder.glob(f"{self.run:04d}-*.h5"))

    def totals(self, count: int) -> Totals:
        """Returns the totals of the first `count` parts."""
        faces = kept = bad = 0
        people, failures = set[str](), list[str]()
        for number in range(count):
            with open_store(self.path(number)) as part:
                attributes = part.file.attrs
                faces, kept, bad = faces + part.shape.rows, kept + int(attributes["kept"]), bad + int(attributes["bad"])
                people.update(read_people(part.file))
                failures += json.loads(attributes["failures"])
        return Totals(
            faces=faces, people=len(people - {""}), kept=kept, bad=bad, failures=tuple(failures[:NAMED_FAILURES])
        )

    def content_hashes(self, count: int, *, without: Set[str]) -> set[str]:
        """Returns the content hashes in the first `count` parts, except for pictures with the names in `without`."""
        found = set[str]()
        for number in range(count):
            with open_store(self.path(number)) as part:
                names, hashes = (read_texts(part.file[column]) for column in ("path", "content_hash"))
            found.update(each for name, each in zip(names, hashes, strict=True) if name not in without)
        return found

    def join(self, count: int, origin: StoreOrigin, *, keep: bool) -> None:
        """Joins the first `count` parts to a store and removes all parts.

        With `keep`, the joined parts stay, and the store refers to them.

        Raises:
            DataError: The store cannot be written.
        """
        paths = [self.path(number) for number in range(count)]
        shapes = [_shape(path) for path in paths]
        whole = replace(shapes[0], rows=sum(shape.rows for shape in shapes))
        with new_store(self._out, origin) as file:
            if keep:
                sizes = zip(paths, shapes, strict=True)
                links = [(f"{self.folder.name}/{path.name}", shape.rows) for path, shape in sizes if shape.rows]
                columns.link_parts(file, whole, links)
            else:
                _copy(paths, file, whole)
        kept = set(paths) if keep else set()
        for path in self.folder.iterdir():
            if path not in kept:
                path.unlink()

    def discard(self) -> None:
        """Removes all parts, including those of earlier runs."""
        for path in self.folder.iterdir():
            path.unlink()


def _shape(path: Path) -> Shape:
    with open_store(path) as part:
        return part.shape


def _copy(paths: Sequence[Path], file: h5py.File, whole: Shape) -> None:
    columns.create_datasets(file, whole)
    start = 0
    for path in paths:
        with open_store(path) as part:
            rows = part.rows()
        columns.write_rows(file, start, rows)
        start += len(rows)
