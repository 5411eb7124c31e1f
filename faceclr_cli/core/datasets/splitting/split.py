"""The job `split`: divides prepared faces reproducibly into training, validation and test parts."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.artifacts import atomic_path, digest_file, read_json, stamp, write_json
from faceclr_cli.core.configs.fields import option_name, to_json
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.datasets.input_discovery import find_prepared_folders, no_faces_error
from faceclr_cli.core.datasets.pairs.sampled_pairs import sample_pairs, write_pairs
from faceclr_cli.core.datasets.splitting.division import (
    PARTS,
    divide_images,
    divide_officially,
    divide_people,
    official_parts,
)
from faceclr_cli.core.datasets.splitting.leaks import Audit, audit, drop_duplicates, exclude_people
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, FaceFolder
from faceclr_cli.core.faces.face_folder import SPLIT as SPLIT  # re-exported for other rooms
from faceclr_cli.core.text import display_path

PAIRS = "pairs.csv"
_MAX_PAIRS = 3000


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """The result of `split`.

    Attributes:
        out: The folder with one folder of faces per part.
        source: The faces that were split.
        by: `identity`, `image` or `official`.
        seed: The random seed.
        parts: The parts with a share above zero.
        pairs: Verification pairs of the test part, or None if it has too few people.
        pair_count: Number of pairs, half of them genuine.
        audit: The findings of the search for leaks between the parts.
        was_there: True if the same split existed already, so that nothing was done.
    """

    out: Path
    source: Path
    by: str
    seed: int
    parts: dict[str, PartSummary]
    pairs: Path | None
    pair_count: int
    audit: Audit
    was_there: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        pairs = None if self.pairs is None else str(self.pairs)
        return asdict(self) | {"out": str(self.out), "source": str(self.source), "pairs": pairs}


def split(config: SplitConfig, reporter: Reporter) -> SplitResult:
    """Splits a folder of prepared faces into parts, as hard links (or copies if links are not possible).

    By identity, no person is in two parts, and pictures without an identity go to the training part. By image, the
    pictures of every person are split. Both depend only on the seed and the names. Official parts are those that the
    source of the photos defined, as recorded in the ledger. The parts are then searched for near-duplicates. The
    output also contains `split.json` and, for the test part, balanced `pairs.csv`.

    Args:
        config: The options; with `out=None`, the output is written beside the faces.
        reporter: Receives the progress.

    Raises:
        ConfigError: No faces were given, the official parts are unknown, or the output exists and is not the same
            split.
        DataError: The folder contains no prepared faces, or too few people for the parts, or the list of people to
            exclude cannot be read.
    """
    if config.faces is None:
        raise no_faces_error("split", find_prepared_folders(Path()))
    faces = open_face_set(config.faces)
    out = config.out or default_split_folder(config.faces)
    official = official_parts(faces) if config.official else None
    digests = _digests(config, faces, official)
    if out.exists():
        return _existing_split(config, out, digests, reporter)
    if out.resolve().is_relative_to(config.faces.resolve()):
        raise ConfigError(f"{display_path(out)}: is inside the folder of faces; choose another -o")
    wanted, found = exclude_people(faces, config.exclude) if config.exclude else (faces, Audit())
    parts = _divide(config, wanted, official)
    found = audit(wanted, parts, found, reporter, official=config.official)
    if config.drop_duplicates:
        parts, found = drop_duplicates(parts, found)
    try:
        with atomic_path(out) as folder:
            return _write(config, faces, parts, found, digests, folder, out, reporter)
    except OSError as error:
        raise DataError(
            f"{display_path(error.filename or out)}: cannot be written ({error.strerror or error})"
        ) from error


def default_split_folder(faces: Path) -> Path:
    """Returns the default output folder: `celeba-faces` -> `celeba-splits`, in the same parent folder."""
    whole = Path(os.path.abspath(faces))
    return (whole if faces.name in ("", "..") else faces).with_name(f"{whole.name.removesuffix('-faces')}-splits")


def _divide(config: SplitConfig, faces: FaceFolder, official: Mapping[str, str] | None) -> dict[str, list[str]]:
    if official is not None:
        return divide_officially(faces, official)
    shares = {part: share for part in PARTS if (share := float(getattr(config, part))) > 0}
    return (divide_people if config.by == "identity" else divide_images)(faces, shares, config.seed)


def _write(
    config: SplitConfig,
    faces: FaceFolder,
    parts: Mapping[str, list[str]],
    found: Audit,
    digests: Mapping[str, str | None],
    folder: Path,
    out: Path,
    reporter: Reporter,
) -> SplitResult:
    identity_of = dict(zip(faces.paths, faces.identities, strict=True))
    everything = [(part, path) for part, paths in parts.items() for path in paths]
    for part, path in track(everything, reporter, "linking faces", total=len(everything), unit="faces"):
        if faces.container is None:
            _link(faces.root / path, folder / part / path)
        else:
            _write_crop(faces.read_path(path), folder / part / path)
    summaries = {}
    for part, paths in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        summaries[part] = summarize_part(paths, (identity_of[path] for path in paths))
        about = {"fingerprint": faces.fingerprint.to_json(), "part": part, **asdict(summaries[part])}
        write_json(folder / part / DESCRIPTION, {**stamp("faces", to_json(config)), **about})
    pairs = []
    if tested := parts.get("test"):
        pairs = sample_pairs(tested, [identity_of[path] for path in tested], count=_MAX_PAIRS, seed=config.seed)
    if pairs:
        write_pairs(folder / PAIRS, pairs)
    elif "test" in parts:
        text = f"{PAIRS} was not written: the test part needs two people, one of them with two pictures"
        reporter.report(Notice(text=text, level="warning"))
    result = SplitResult(
        out=out,
        source=faces.root,
        by="official" if config.official else config.by,
        seed=config.seed,
        parts=summaries,
        pairs=out / PAIRS if pairs else None,
        pair_count=len(pairs),
        audit=found,
    )
    about = {
        "fingerprint": faces.fingerprint.to_json(),
        **digests,
        "parts": {part: asdict(summary) for part, summary in summaries.items()},
        "pairs": len(pairs),
        "audit": found.to_json(),
    }
    write_json(folder / SPLIT, {**stamp("split", to_json(config)), **about})
    return result


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, a file system without links, or too many links.
        shutil.copyfile(source, target)


def _write_crop(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _digests(config: SplitConfig, faces: FaceFolder, official: Mapping[str, str] | None) -> dict[str, str | None]:
    """Returns digests of the fingerprint, the names, sizes and official parts of all crops, and of the exclude list."""
    state = hashlib.sha256(repr(faces.fingerprint).encode())
    for place, path in enumerate(faces.paths):
        state.update(b"%s\0%d\0" % (os.fsencode(path), faces.stamp(place)[0]))
    if official is not None:
        state.update(json.dumps(sorted(official.items())).encode())
    try:
        listing = digest_file(config.exclude) if config.exclude else None
    except OSError as error:
        raise DataError(f"{display_path(config.exclude or '')}: cannot be read ({error.strerror})") from error
    return {"digest": state.hexdigest(), "exclude_digest": listing}


def _existing_split(
    config: SplitConfig, out: Path, digests: Mapping[str, str | None], reporter: Reporter
) -> SplitResult:
    advice = "choose another -o, or remove it"
    if not (out / SPLIT).is_file():
        raise ConfigError(f"{display_path(out)}: exists and is not a split; {advice}")
    content = read_json(out / SPLIT)
    then, now = content.get("config", {}), to_json(config)
    for name in ("official", "drop_duplicates"):
        if bool(then.get(name)) != now[name]:
            raise ConfigError(f"{display_path(out)}: was split with{'out' * now[name]} --{option_name(name)}; {advice}")
    # Official parts do not depend on the other options; the pairs depend on the seed.
    for name in ("seed",) if config.official else ("by", *PARTS, "seed"):
        if then.get(name) != now[name]:
            raise ConfigError(
                f"{display_path(out)}: was split with --{name} {then.get(name)}, not {now[name]}; {advice}"
            )
    if content.get("exclude_digest") != digests["exclude_digest"]:
        raise ConfigError(f"{display_path(out)}: was split with another --exclude, or its list has changed; {advice}")
    if content.get("digest") != digests["digest"]:
        raise ConfigError(
            f"{display_path(out)}: was made from other faces, or {display_path(config.faces or '')} has changed "
            f"since; {advice}"
        )
    reporter.report(Notice(text=f"{display_path(out)} already contains this split; nothing to do"))
    try:
        return SplitResult(
            out=out,
            source=Path(then["faces"]),
            by="official" if config.official else config.by,
            seed=config.seed,
            parts={part: PartSummary(**summary) for part, summary in content["parts"].items()},
            pairs=out / PAIRS if content["pairs"] else None,
            pair_count=content["pairs"],
            audit=Audit.from_json(content["audit"]),
            was_there=True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{out / SPLIT}: damaged or of another version; {advice}") from error


@dataclass(frozen=True, kw_only=True)
class PartSummary:
    """The size of a part.

    Attributes:
        people: Number of people, without unknown ones.
        faces: Number of pictures, with and without an identity.
        mean: Mean number of pictures per person.
        std: Population standard deviation of the number of pictures per person.
        minimum: Smallest number of pictures of a person.
        maximum: Largest number of pictures of a person.
    """

    people: int
    faces: int
    mean: float
    std: float
    minimum: int
    maximum: int


def summarize_part(paths: Sequence[str], identities: Iterable[str | None]) -> PartSummary:
    """Computes the statistics of a part. `paths` and `identities` have the same length."""
    sizes = np.array(list(Counter(name for name in identities if name is not None).values()) or [0])
    return PartSummary(
        people=int(np.count_nonzero(sizes)),
        faces=len(paths),
        mean=round(float(sizes.mean()), 3),
        std=round(float(sizes.std()), 3),
        minimum=int(sizes.min()),
        maximum=int(sizes.max()),
    )
