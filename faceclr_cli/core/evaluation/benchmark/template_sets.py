"""Sets of pairs of templates in a benchmark, such as IJB-B and IJB-C."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceclr_cli.core.configs.templates import TemplateMethod
from faceclr_cli.core.datasets.pairs.template_lists import read_template_lists
from faceclr_cli.core.embeddings.benchmark_sets import BenchmarkSet
from faceclr_cli.core.embeddings.crop_source import Listing
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.face_templates import find_pictures, group_faces
from faceclr_cli.core.embeddings.store import is_store
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell
from faceclr_cli.core.evaluation.verification.all_pairs_protocol import FARS
from faceclr_cli.core.evaluation.verification.pairs_result import TarAtFar
from faceclr_cli.core.evaluation.verification.template_protocol import TemplatesResult, measure_template_pairs
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.faces.face_folder import is_face_folder, open_faces
from faceclr_cli.core.sources.file_trees import is_picture
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path

_META, _PICTURES = "meta", "loose_crop"
_LIST, _PAIRS = "*_face_tid_mid.txt", "*_template_pair_label.txt"


@dataclass(frozen=True, kw_only=True, eq=False)
class TemplateSet(BenchmarkSet):
    """A set of pairs of templates. Its pairs are read from the file when they are needed.

    Attributes:
        pair_file: The pairs.
        lists: The pictures of each template; none if each folder is a template.
    """

    pair_file: Path
    lists: tuple[Path, ...]


def find_template_sets(paths: Sequence[Path], pairs: Path | None, lists: tuple[Path, ...]) -> list[TemplateSet]:
    """Reads sets of templates, and finds their pictures. A set that is given twice is returned once.

    Args:
        paths: Stores and folders; see `BenchmarkConfig.sets`.
        pairs: The pairs of the only set, or None if it has its own.
        lists: Lists of the pictures of templates, or none to use the set's own, or its folders.

    Raises:
        DataError: A file is missing, or a folder contains no pairs of templates.
        ConfigError: A store was given without pairs.
    """
    sets = [_find_set(path, pairs, lists) for path in {path.resolve(): path for path in paths}.values()]
    names = [found.name for found in sets]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two sets are named {next(name for name in names if names.count(name) > 1)}; rename a folder"
        )
    return sets


def _find_set(path: Path, pairs: Path | None, lists: tuple[Path, ...]) -> TemplateSet:
    if not path.exists():
        raise DataError(f"{display_path(path)}: no such file or folder")
    if is_store(path):
        if pairs is None:
            raise ConfigError(f"{display_path(path)}: a store contains no pairs; give --pairs FILE")
        return _template_set(path.stem, path, path, None, pairs, lists)
    if not path.is_dir():
        raise ConfigError(f"{display_path(path)}: --template requires a folder or a store with pairs of templates")
    meta = path / _META if (path / _META).is_dir() else path
    own = sorted(meta.glob(_PAIRS))
    if pairs is None and len(own) != 1:
        raise DataError(
            f"{display_path(path)}: contains {len(own) or 'no'} lists of pairs of templates (looked for {_PAIRS}, also "
            f"in {_META}); give --pairs FILE"
        )
    lists = lists or tuple(sorted(meta.glob(_LIST)))
    root = path / _PICTURES if (path / _PICTURES).is_dir() else path
    return _template_set(path.resolve().name, path, root, _list_folder(root, lists), pairs or own[0], lists)


def _template_set(
    name: str, source: Path, place: Path, listing: Listing | None, pairs: Path, lists: tuple[Path, ...]
) -> TemplateSet:
    return TemplateSet(
        name=name, source=source, place=place, pairs=(), listing=listing, absent={}, pair_file=pairs, lists=lists
    )


def _list_folder(root: Path, lists: Sequence[Path]) -> Listing:
    """Lists the pictures of a folder that are in templates."""
    names = sorted(_walk(root))
    if lists:
        found = find_pictures(names, read_template_lists(lists).paths)
        names = sorted({name for name in found if name is not None})
    if not names:
        raise DataError(f"{display_path(root)}: contains no picture of a template")
    photos = [Photo(path=root / name, identity=None, name=name) for name in names]
    return Listing(photos=photos, crops=open_faces(root).fingerprint if is_face_folder(root) else None)


def _walk(root: Path) -> Iterator[str]:
    for file in root.rglob("*"):
        name = file.relative_to(root).as_posix()
        if is_picture(name) and not any(part.startswith(".") for part in name.split("/")) and file.is_file():
            yield name


def measure_template_set(
    found: TemplateSet, rows: Rows, encoder: str, method: TemplateMethod, reporter: Reporter
) -> tuple[BenchmarkCell, TemplatesResult]:
    """Measures an encoder on pairs of templates.

    Raises:
        DataError: As for `group_faces` and `measure_template_pairs`.
    """
    templates = group_faces(rows, found.lists, method, display_path(found.place), reporter)
    result = measure_template_pairs(templates, found.pair_file, method, str(found.place), encoder)
    measured = [TarAtFar(far=row.far, tar=row.tar, threshold=row.threshold, reason=None) for row in result.tar_at_far]
    measured += [
        TarAtFar(
            far=far,
            tar=None,
            threshold=None,
            reason=f"needs {round(1 / far):,} impostor pairs, there are {result.impostor:,}",
        )
        for far in result.unmeasured
    ]
    cell = BenchmarkCell(
        set=found.name,
        encoder=encoder,
        auc=result.auc,
        eer=result.eer,
        tar_at_far=tuple(sorted(measured, key=lambda point: FARS.index(point.far))),
        missing=result.missing,
        failures=("a template has no picture with a face",) if result.missing else (),
    )
    return cell, result
