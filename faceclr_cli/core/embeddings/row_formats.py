"""Writers of embeddings for other tools: JSON lines, CSV, NumPy .npz and Parquet, to a file or standard output."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.embed import STANDARD_OUTPUT, Format
from faceclr_cli.core.embeddings.embedding_rows import Rows, concatenate_rows
from faceclr_cli.core.embeddings.quality_columns import quality_measure, stored_measures
from faceclr_cli.core.embeddings.store import StoreOrigin
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.text import display_path

Write = Callable[[Rows], None]


@contextmanager
def open_row_writer(form: Format, out: Path, origin: StoreOrigin) -> Iterator[Write]:
    """Yields a function that writes rows. A file is renamed into place when the block ends.

    Args:
        form: Any format except `h5`.
        out: A file, or `-` for standard output.
        origin: Metadata of the rows, which .npz and Parquet files contain.

    Raises:
        ConfigError: The format is Parquet, and pyarrow is not installed.
        DataError: The file cannot be written.
    """
    writers = {"jsonl": _json_lines, "csv": _csv, "npz": _npz, "parquet": _parquet}
    if out == STANDARD_OUTPUT:
        with writers[form](sys.stdout.buffer, origin) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    try:
        with atomic_path(out) as temporary, open(temporary, "wb") as file, writers[form](file, origin) as write:
            yield write
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error


@contextmanager
def _json_lines(file: BinaryIO, origin: StoreOrigin) -> Iterator[Write]:
    measures = stored_measures(origin.quality_level)

    def write(rows: Rows) -> None:
        lines = (json.dumps(row, allow_nan=False) + "\n" for row in _objects(rows, measures))
        file.write("".join(lines).encode("ascii"))
        file.flush()  # Pipelines can process rows as they are written.

    yield write


def _objects(rows: Rows, measures: Sequence[str]) -> Iterator[dict[str, Any]]:
    scores, boxes = rows.detection_scores.tolist(), rows.boxes.tolist()
    # The shortest decimals that round-trip as float32.
    vectors = [[float(str(number)) for number in vector] for vector in rows.embeddings]
    columns = (rows.paths, rows.identities, rows.content_hashes, scores, boxes, vectors)
    quality = {name: quality_measure(rows, name).tolist() for name in measures}
    for row, (path, identity, content_hash, score, box, vector) in enumerate(zip(*columns, strict=True)):
        yield {
            "path": path,
            "identity": identity,
            "content_hash": content_hash,
            "detection_score": None if math.isnan(score) else score,
            "box": None if math.isnan(box[0]) else box,
            **{name: None if math.isnan(column[row]) else column[row] for name, column in quality.items()},
            "embedding": vector,
        }


@contextmanager
def _csv(file: BinaryIO, origin: StoreOrigin) -> Iterator[Write]:
    measures = stored_measures(origin.quality_level)
    # File names need not be UTF-8; surrogate escapes are written as the original bytes.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    writer, begun = csv.writer(text, lineterminator="\n"), False

    def write(rows: Rows) -> None:
        nonlocal begun
        if not begun:
            numbers = [f"e{place}" for place in range(rows.dim)]
            names = ["path", "identity", "content_hash", "detection_score", "x", "y", "width", "height", *measures]
            writer.writerow([*names, *numbers])
            begun = True
        for row in _objects(rows, measures):
            box = row["box"] or [None] * 4
            known = [row["path"], row["identity"], row["content_hash"], row["detection_score"], *box]
            known += [row[name] for name in measures]
            writer.writerow(["" if value is None else value for value in (*known, *row["embedding"])])
        text.flush()

    try:
        yield write
    finally:
        text.detach()


@contextmanager
def _npz(file: BinaryIO, origin: StoreOrigin) -> Iterator[Write]:
    parts = list[Rows]()
    yield parts.append
    if not parts:
        return
    rows = concatenate_rows(parts)
    measures: dict[str, Any] = {name: quality_measure(rows, name) for name in stored_measures(origin.quality_level)}
    np.savez(
        file,
        embedding=rows.embeddings,
        path=np.array(rows.paths),
        identity=np.array([name or "" for name in rows.identities]),
        content_hash=np.array(rows.content_hashes),
        detection_score=rows.detection_scores,
        box=rows.boxes,
        **measures,
        about=np.array(json.dumps(origin.to_attributes())),
    )


@contextmanager
def _parquet(file: BinaryIO, origin: StoreOrigin) -> Iterator[Write]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("--format parquet requires pyarrow; run: pip install 'faceclr[parquet]'") from None
    writer: Any = None
    measures = stored_measures(origin.quality_level)

    def write(rows: Rows) -> None:
        nonlocal writer
        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.embeddings.reshape(-1)), rows.dim)
        boxes = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.boxes.reshape(-1)), 4)
        table = pyarrow.table(
            {
                "path": [_to_utf8(path) for path in rows.paths],
                "identity": [None if name is None else _to_utf8(name) for name in rows.identities],
                "content_hash": list(rows.content_hashes),
                "detection_score": pyarrow.array(rows.detection_scores, from_pandas=True),
                "box": boxes,
                **{name: pyarrow.array(quality_measure(rows, name), from_pandas=True) for name in measures},
                "embedding": vectors,
            }
        )
        if writer is None:
            about = {name: str(value) for name, value in origin.to_attributes().items()}
            writer = parquet.ParquetWriter(file, table.schema.with_metadata(about))
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _to_utf8(name: str) -> str:
    """Escapes bytes that are not UTF-8, which Parquet strings must be."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
