"""Prepared faces divided into train, validation and test parts, the same way on any machine."""

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
from faceclr_cli.core.datasets.input_discovery import find_prepared_folders, no_faces_error
from faceclr_cli.core.datasets.pairs.sampled_pairs import sample_pairs, write_pairs
from faceclr_cli.core.datasets.splitting.division import (
    PARTS,
    divide_images,
    divide_officially,
    divide_people,
    official_parts,
)
from faceclr_cli.core.datasets.splitting.leaks import Audit, audit, drop_duplicates, keep_out
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.face_folder import DESCRIPTION, FaceFolder, open_faces
from faceclr_cli.core.faces.face_folder import SPLIT as SPLIT  # other rooms know it as split's
from faceclr_cli.core.text import display_path

PAIRS = "pairs.csv"
_MOST_PAIRS = 3000


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """What `split` made.

    Attributes:
        out: The folder with a folder of faces for each part.
        source: The faces that were divided.
        by: `identity`, `image` or `official`.
        seed: What it was drawn with.
        parts: Those whose share is above zero.
        pairs: Verification pairs over the test part, or None where it has too few people.
        pair_count: How many there are, half of them genuine.
        audit: What was looked for between the parts, and found.
        was_there: Whether the same split had been made before, so that nothing was to do.
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
    """Divides a folder of prepared faces, as hard links (copies where a link cannot be).

    By identity, no person is in two parts, and pictures of nobody knows whom go to the training part. By
    image, every person's pictures are divided. Either way the outcome depends on the seed and the names
    alone. Officially, the ledger of the faces says which part its source put each photograph in. Then the
    parts are searched for near-duplicates. Beside them it writes `split.json` and, over the test part,
    balanced `pairs.csv`.

    Args:
        config: What to do; `out=None` writes beside the faces.
        reporter: Told of every picture.

    Raises:
        ConfigError: No faces are named, no official parts are known, or the output exists and is not
            this very split.
        DataError: The folder holds no prepared faces, or too few people for the parts, or the list of
            people to keep out cannot be read.
    """
    if config.faces is None:
        raise no_faces_error("split", find_prepared_folders(Path()))
    faces = open_faces(config.faces)
    out = config.out or default_split_folder(config.faces)
    official = official_parts(faces) if config.official else None
    digests = _digests(config, faces, official)
    if out.exists():
        return _made_before(config, out, digests, reporter)
    if out.resolve().is_relative_to(config.faces.resolve()):
        raise ConfigError(f"{display_path(out)}: lies inside the faces; choose another -o")
    wanted, found = keep_out(faces, config.exclude) if config.exclude else (faces, Audit())
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
    """`celeba-faces` -> `celeba-splits`, beside it."""
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
        _link(faces.root / path, folder / part / path)
    summaries = {}
    for part, paths in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        summaries[part] = summarize_part(paths, (identity_of[path] for path in paths))
        about = {"fingerprint": faces.fingerprint.to_json(), "part": part, **asdict(summaries[part])}
        write_json(folder / part / DESCRIPTION, {**stamp("faces", to_json(config)), **about})
    pairs = []
    if tested := parts.get("test"):
        pairs = sample_pairs(tested, [identity_of[path] for path in tested], count=_MOST_PAIRS, seed=config.seed)
    if pairs:
        write_pairs(folder / PAIRS, pairs)
    elif "test" in parts:
        text = f"no {PAIRS}: the test part needs two people, and one of them with two pictures"
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
        # Another file system, or one without links, or too many of them.
        shutil.copyfile(source, target)


def _digests(config: SplitConfig, faces: FaceFolder, official: Mapping[str, str] | None) -> dict[str, str | None]:
    """What changes with the fingerprint, the name or size of any crop or its official part, and with the list."""
    state = hashlib.sha256(repr(faces.fingerprint).encode())
    for path in faces.paths:
        state.update(b"%s\0%d\0" % (os.fsencode(path), os.stat(faces.root / path).st_size))
    if official is not None:
        state.update(json.dumps(sorted(official.items())).encode())
    try:
        listing = digest_file(config.exclude) if config.exclude else None
    except OSError as error:
        raise DataError(f"{display_path(config.exclude or '')}: cannot be read ({error.strerror})") from error
    return {"digest": state.hexdigest(), "exclude_digest": listing}


def _made_before(config: SplitConfig, out: Path, digests: Mapping[str, str | None], reporter: Reporter) -> SplitResult:
    advice = "choose another -o, or remove it"
    if not (out / SPLIT).is_file():
        raise ConfigError(f"{display_path(out)}: is there already, and is not a split; {advice}")
    content = read_json(out / SPLIT)
    then, now = content.get("config", {}), to_json(config)
    for name in ("official", "drop_duplicates"):
        if bool(then.get(name)) != now[name]:
            raise ConfigError(f"{display_path(out)}: was split with{'out' * now[name]} --{option_name(name)}; {advice}")
    # The source's own parts don't depend on how others would be drawn; the pairs depend on the seed.
    for name in ("seed",) if config.official else ("by", *PARTS, "seed"):
        if then.get(name) != now[name]:
            raise ConfigError(
                f"{display_path(out)}: was split with --{name} {then.get(name)}, not {now[name]}; {advice}"
            )
    if content.get("exclude_digest") != digests["exclude_digest"]:
        raise ConfigError(
            f"{display_path(out)}: was split with another --exclude, or without one, or its list changed; {advice}"
        )
    if content.get("digest") != digests["digest"]:
        raise ConfigError(
            f"{display_path(out)}: was made from other faces, or {display_path(config.faces or '')} changed "
            f"since; {advice}"
        )
    reporter.report(Notice(text=f"{display_path(out)} is this very split already; nothing to do"))
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
    """Who and what is in a part.

    Attributes:
        people: How many people; those whose name nobody knows are not counted.
        faces: How many pictures, of people and of nobody knows whom.
        mean: Pictures for each person, on average.
        std: Standard deviation of that (of the people here, not an estimate for others).
        minimum: Pictures of the person with the fewest.
        maximum: Pictures of the person with the most.
    """

    people: int
    faces: int
    mean: float
    std: float
    minimum: int
    maximum: int


def summarize_part(paths: Sequence[str], identities: Iterable[str | None]) -> PartSummary:
    """Counts people and pictures. `paths` and `identities` have the same length."""
    sizes = np.array(list(Counter(name for name in identities if name is not None).values()) or [0])
    return PartSummary(
        people=int(np.count_nonzero(sizes)),
        faces=len(paths),
        mean=round(float(sizes.mean()), 3),
        std=round(float(sizes.std()), 3),
        minimum=int(sizes.min()),
        maximum=int(sizes.max()),
    )
