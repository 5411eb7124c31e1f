"""`faceclr forget`: a person is removed from what faceclr wrote, and looked for afterwards."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faceclr_cli.core.artifacts import former_path
from faceclr_cli.core.configs.forget import ForgetConfig
from faceclr_cli.core.embeddings.gallery_cache import forget_galleries
from faceclr_cli.core.embeddings.store import store_parts_folder
from faceclr_cli.core.encoders.description import DESCRIPTION as ENCODER
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.faces.face_folder import SPLIT, is_face_folder
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.upkeep.face_holdings import FacesHolding, SplitHolding
from faceclr_cli.core.upkeep.holdings import (
    CLASSIFIER,
    GROUPS,
    ClassifierHolding,
    EncoderHolding,
    GroupsHolding,
    Holding,
    MapHolding,
    StoreHolding,
)


@dataclass(frozen=True, kw_only=True)
class ArtifactRemoval:
    """What became of one artifact.

    Attributes:
        path: Which.
        kind: `embeddings`, `faces`, `split`, `groups`, `classifier`, `encoder` or `map`.
        removed: Rows, pictures or entries of the person.
        left: Those that were found when it was read again; with `dry_run`, all.
        others: Rows, pictures or entries of everybody else.
    """

    path: str
    kind: str
    removed: int
    left: int
    others: int


@dataclass(frozen=True, kw_only=True)
class ForgetResult:
    """What was removed.

    Attributes:
        identity: Who.
        rows: For each artifact; of a split, one for each part and one for its pairs and findings.
        linked: Pictures that have another hard link, in a folder that was not given.
        dry_run: Whether nothing was really removed.
    """

    identity: str
    rows: tuple[ArtifactRemoval, ...]
    linked: int
    dry_run: bool

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


def forget(config: ForgetConfig, reporter: Reporter) -> ForgetResult:
    """Removes a person from artifacts, and reads each again to see that nothing is left.

    A run that was interrupted, or stopped by an error, is finished by the same call. The cache of galleries is
    emptied.

    Raises:
        DataError: A path is not an artifact that holds people, none of them knows the person, something could not be
            removed, or was found again afterwards.
        LockedError: Another run writes there.
    """
    identity = canonical(config.identity)
    holdings = [holding for path in config.paths for holding in _holdings(path)]
    known = [holding.people() for holding in holdings]
    if not any(identity in people for people in known):
        raise _unknown(identity, set().union(*known))
    before = [holding.count(identity) for holding in holdings]
    if not config.dry_run:
        try:
            for holding in holdings:
                holding.remove(identity)
            forget_galleries()
        except OSError as error:
            path = display_path(error.filename or holding.path)
            raise DataError(f"{path}: cannot be removed ({error.strerror or error}); try again once it can") from error
    # Only after the last one, since they share files: pictures of faces, their parts and groups.
    after = [_counted(holding, identity) for holding in holdings]
    rows = tuple(
        ArtifactRemoval(path=str(holding.path), kind=holding.kind, removed=was.theirs, left=left, others=was.others)
        for holding, was, left in zip(holdings, before, after, strict=True)
    )
    remaining = [row.path for row in rows if row.left and not config.dry_run]
    if remaining:
        raise DataError(
            f"{display_path(remaining[0])}: {display_path(identity)} is still there; try again when no other "
            "run writes to it"
        )
    linked = _linked(holdings)
    _advise(linked, any(isinstance(holding, FacesHolding) for holding in holdings), reporter)
    return ForgetResult(identity=identity, rows=rows, linked=linked, dry_run=config.dry_run)


def _holdings(path: Path) -> Sequence[Holding]:
    """What holds people at a path; a split is its parts and what it says of them."""
    former = former_path(path)
    if former.is_dir() and not path.exists():
        os.replace(former, path)  # A run was killed just when another one should take its place.
    if path.suffix.lower() in (".html", ".htm") and path.is_file():
        return [MapHolding(path)]
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
    for folder in (path, path / "encoder"):
        if (folder / ENCODER).is_file():
            return [EncoderHolding(folder)]
    state = (
        "not a store, prepared faces, a split, groups, a classifier, an encoder or a map"
        if path.exists()
        else "no such file or folder"
    )
    raise DataError(f"{display_path(path)}: {state}")


def _unknown(identity: str, people: set[str]) -> DataError:
    near = difflib.get_close_matches(identity, people, n=1)
    hint = f"; did you mean {display_path(near[0])}?" if near else ""
    return DataError(f"nobody there is called {display_path(identity)}{hint}")


def _counted(holding: Holding, identity: str) -> int:
    """What is left of a person; nothing, if the artifact went with its last person."""
    return holding.count(identity).theirs if holding.path.exists() else 0


def _linked(holdings: Sequence[Holding]) -> int:
    """Pictures that have a name left somewhere: each folder in turn counted the names that were left then."""
    links: dict[tuple[int, int], int] = {}
    for holding in holdings:
        if isinstance(holding, FacesHolding):
            links |= holding.links
    return sum(count > 0 for count in links.values())


def _advise(linked: int, has_faces: bool, reporter: Reporter) -> None:
    if linked:
        text = f"{linked} of the pictures are linked in another folder too, perhaps a split; forget them there as well"
        reporter.report(Notice(text=text, level="warning"))
    if has_faces:
        text = "photographs that faces were made of are not touched, and would make them again"
        reporter.report(Notice(text=text))
    text = (
        "not reached: what encoders and classifiers learned from the person, thresholds and calibrations measured with "
        "them, exported graphs, embeddings in other formats, and pictures and answers that commands wrote; train, "
        "measure and draw anew, or remove these"
    )
    reporter.report(Notice(text=text))
