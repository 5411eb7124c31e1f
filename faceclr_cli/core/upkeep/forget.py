"""`faceclr forget`: removes a person from artifacts and verifies the removal."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import former_path, remove_stale
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.embeddings.embedding_cache import forget_cached_embeddings
from faceclr_cli.core.embeddings.store import store_parts_folder
from faceclr_cli.core.encoders.description import DESCRIPTION as ENCODER
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import SPLIT, is_face_folder
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.upkeep.face_holdings import FacesHolding, SplitHolding
from faceclr_cli.core.upkeep.groups_holding import GROUPS, GroupsHolding
from faceclr_cli.core.upkeep.holdings import (
    CLASSIFIER,
    ENCODER_IN_RUN,
    FAILED_BATCH,
    GRAPH,
    ClassifierHolding,
    EncoderHolding,
    FailedBatchHolding,
    Holding,
    MapHolding,
    StoreHolding,
    displayed,
)


@dataclass(frozen=True, kw_only=True)
class ArtifactRemoval:
    """The removal from one artifact.

    Attributes:
        path: The artifact.
        kind: `embeddings`, `faces`, `split`, `groups`, `classifier`, `encoder`, `batch` or `map`.
        removed: Number of rows, pictures or entries of the person.
        left: Number of those that remain; with `dry_run`, all.
        others: Number of rows, pictures or entries of other people.
    """

    path: str
    kind: str
    removed: int
    left: int
    others: int


@dataclass(frozen=True, kw_only=True)
class ForgetResult:
    """Result of `forget`.

    Attributes:
        identity: The person.
        rows: One row for each artifact. A split has one for each part, and one for its pairs and findings.
        linked: Number of removed pictures that have a hard link elsewhere.
        dry_run: True if nothing was removed.
    """

    identity: str
    rows: tuple[ArtifactRemoval, ...]
    linked: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def forget(config: ForgetConfig, reporter: Reporter) -> ForgetResult:
    """Removes a person from artifacts, then reads each artifact again to verify that nothing is left.

    After an interruption or an error, the same call completes the removal. The cache of embeddings is cleared.

    Raises:
        DataError: A path is not an artifact with people, no artifact contains the person, something cannot be removed,
            or the verification fails.
        LockedError: Another run is writing an artifact.
    """
    identity = canonical(config.identity)
    holdings = [holding for path in config.paths for holding in _holdings(path)]
    known = [holding.people() for holding in holdings]
    # Maps and lists of failed batches contain the name as it is displayed.
    if not any({identity, displayed(identity)} & people for people in known):
        raise _unknown(identity, set().union(*known))
    before = [holding.count(identity) for holding in holdings]
    if not config.dry_run:
        try:
            # First, so that the same call clears them after an interruption: then, the person is still known.
            forget_cached_embeddings()
            for holding in holdings:
                holding.remove(identity)
                for folder in (holding.path, holding.path.parent):
                    remove_stale(folder)
        except OSError as error:
            path = display_path(error.filename or holding.path)
            reason = error.strerror or error
            raise DataError(f"{path}: cannot be removed ({reason}); fix this and run the same command again") from error
    # After all removals, since artifacts share files: prepared faces, splits and groups.
    after = [_count_left(holding, identity) for holding in holdings]
    rows = tuple(
        ArtifactRemoval(path=str(holding.path), kind=holding.kind, removed=was.theirs, left=left, others=was.others)
        for holding, was, left in zip(holdings, before, after, strict=True)
    )
    remaining = [row.path for row in rows if row.left and not config.dry_run]
    if remaining:
        raise DataError(
            f"{display_path(remaining[0])}: still contains {display_path(identity)}; make sure that no other run "
            "writes to it, and run the same command again"
        )
    linked = _count_linked(holdings)
    _report_limits(linked, any(isinstance(holding, FacesHolding) for holding in holdings), reporter)
    return ForgetResult(identity=identity, rows=rows, linked=linked, dry_run=config.dry_run)


def _holdings(path: Path) -> Sequence[Holding]:
    """Returns the artifact at a path. A split is returned as its parts and its own data."""
    former = former_path(path)
    if former.is_dir() and not path.exists():
        os.replace(former, path)  # A run was killed while it replaced the folder.
    if path.suffix.lower() in (".html", ".htm") and path.is_file():
        return [MapHolding(path)]
    if path.suffix == GRAPH and path.is_file():
        return [EncoderHolding(path)]
    if path.is_file() or store_parts_folder(path).is_dir():
        return [StoreHolding(path)]
    if (path / GROUPS).is_file():
        return [GroupsHolding(path)]
    if is_face_folder(path):
        return [FacesHolding(path)]
    if (path / SPLIT).is_file():
        split = SplitHolding(path)
        return [*(FacesHolding(part) for part in split.parts), split]
    if (path / CLASSIFIER).is_file():
        return [ClassifierHolding(path)]
    encoders = [folder for folder in (path, path / ENCODER_IN_RUN) if (folder / ENCODER).is_file()]
    found: list[Holding] = [EncoderHolding(folder) for folder in encoders[:1]]
    if (path / FAILED_BATCH).is_file():
        found.append(FailedBatchHolding(path / FAILED_BATCH))
    if found:
        return found
    state = (
        "not a store, prepared faces, a split, groups, a classifier, an encoder, a run or a map"
        if path.exists()
        else "no such file or folder"
    )
    raise DataError(f"{display_path(path)}: {state}")


def _unknown(identity: str, people: set[str]) -> DataError:
    near = difflib.get_close_matches(identity, people, n=1)
    hint = f"; did you mean {display_path(near[0])}?" if near else ""
    return DataError(f"no artifact contains a person named {display_path(identity)}{hint}")


def _count_left(holding: Holding, identity: str) -> int:
    """Counts what is left of a person. The artifact may be gone if the person was its last."""
    return holding.count(identity).theirs if holding.path.exists() else 0


def _count_linked(holdings: Sequence[Holding]) -> int:
    """Counts removed pictures that still have a hard link. For pictures in several folders, the last removal counts."""
    links: dict[tuple[int, int], int] = {}
    for holding in holdings:
        if isinstance(holding, FacesHolding):
            links |= holding.links
    return sum(count > 0 for count in links.values())


def _report_limits(linked: int, has_faces: bool, reporter: Reporter) -> None:
    if linked:
        text = f"{linked} of the pictures are linked in another folder too, perhaps a split; run forget on it as well"
        reporter.report(Notice(text=text, level="warning"))
    if has_faces:
        text = "the original photographs are not removed; preparing them again would create the same faces"
        reporter.report(Notice(text=text))
    text = (
        "not removed: what encoders and classifiers learned from the person, thresholds and calibrations measured with "
        "the person, exported graphs that were not given, embeddings in other formats, and pictures and results of "
        "commands; create these again, or remove them"
    )
    reporter.report(Notice(text=text))
