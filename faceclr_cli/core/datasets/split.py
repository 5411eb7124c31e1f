"""Prepared faces divided into train, validation and test parts, the same way on any machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceclr_cli.core.artifacts import atomic_path, read_json, stamp, write_json
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.split import SplitConfig
from faceclr_cli.core.datasets.discover import no_faces_given, prepared_folders
from faceclr_cli.core.datasets.folder import DESCRIPTION, FaceFolder, open_faces
from faceclr_cli.core.datasets.pairs import sample_pairs, write_pairs
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.reasons import shown

SPLIT = "split.json"
PAIRS = "pairs.csv"
PARTS = ("train", "val", "test")
_MOST_PAIRS = 3000


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


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """What `split` made.

    Attributes:
        out: The folder with a folder of faces for each part.
        source: The faces that were divided.
        by: `identity` or `image`.
        seed: What it was drawn with.
        parts: Those whose share is above zero.
        pairs: Verification pairs over the test part, or None where it has too few people.
        pair_count: How many there are, half of them genuine.
        was_there: Whether the same split had been made before, so that nothing was to do.
    """

    out: Path
    source: Path
    by: str
    seed: int
    parts: dict[str, PartSummary]
    pairs: Path | None
    pair_count: int
    was_there: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        pairs = None if self.pairs is None else str(self.pairs)
        return asdict(self) | {"out": str(self.out), "source": str(self.source), "pairs": pairs}


def run(config: SplitConfig, reporter: Reporter) -> SplitResult:
    """Divides a folder of prepared faces, as hard links (copies where a link cannot be).

    By identity, no person is in two parts, and pictures of nobody knows whom go to the training part. By
    image, every person's pictures are divided. Either way the outcome depends on the seed and the names
    alone. Beside the parts it writes `split.json` and, over the test part, balanced `pairs.csv`.

    Args:
        config: What to do; `out=None` writes beside the faces.
        reporter: Told of every picture.

    Raises:
        ConfigError: No faces are named, or the output exists and is not this very split.
        DataError: The folder holds no prepared faces, or too few people for the parts.
    """
    if config.faces is None:
        raise no_faces_given("split", prepared_folders(Path()))
    faces = open_faces(config.faces)
    out = config.out or default_out(config.faces)
    digest = _digest(faces)
    if out.exists():
        return _made_before(config, out, digest, reporter)
    if out.resolve().is_relative_to(config.faces.resolve()):
        raise ConfigError(f"{shown(out)}: lies inside the faces; choose another -o")
    shares = {part: share for part in PARTS if (share := float(getattr(config, part))) > 0}
    parts = (divide_people if config.by == "identity" else divide_images)(faces, shares, config.seed)
    try:
        with atomic_path(out) as folder:
            return _write(config, faces, parts, digest, folder, out, reporter)
    except OSError as error:
        raise DataError(f"{shown(error.filename or out)}: cannot be written ({error.strerror or error})") from error


def default_out(faces: Path) -> Path:
    """`celeba-faces` -> `celeba-splits`, beside it."""
    whole = faces.resolve()
    return (whole if faces.name in ("", "..") else faces).with_name(f"{whole.name.removesuffix('-faces')}-splits")


def divide_people(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Gives every person to one part.

    Args:
        faces: What to divide.
        shares: Above zero, by part; together one.
        seed: Draws other people.

    Returns:
        The paths of each part.

    Raises:
        DataError: There are fewer people than parts.
    """
    if len(faces.people) < len(shares):
        raise DataError(
            f"{shown(faces.root)}: {len(faces.people)} people cannot be divided into {len(shares)} parts "
            "without one in two of them; type --by image, or set shares to 0"
        )
    people = sorted(faces.people, key=lambda name: _draw(seed, name))
    counts = _apportion(len(people), shares, least=1)
    owners = iter(people)
    part_of: dict[str | None, str] = {next(owners): part for part in shares for _ in range(counts[part])}
    part_of[None] = next(iter(shares))  # without a name it can be of use in training alone
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for path, identity in zip(faces.paths, faces.identities, strict=True):
        parts[part_of[identity]].append(path)
    return parts


def divide_images(faces: FaceFolder, shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Divides the pictures of every person, and those of nobody knows whom.

    Who has too few pictures for all parts is in the first ones: a test on a person who was not trained
    on would say little here.

    Args:
        faces: What to divide.
        shares: Above zero, by part; together one.
        seed: Draws other pictures.

    Returns:
        The paths of each part.
    """
    albums: dict[str | None, list[str]] = {}
    for path, identity in zip(faces.paths, faces.identities, strict=True):
        albums.setdefault(identity, []).append(path)
    parts: dict[str, list[str]] = {part: [] for part in shares}
    for album in albums.values():
        drawn = iter(sorted(album, key=lambda path: _draw(seed, path)))
        for part, count in _apportion(len(album), shares, least=0).items():
            parts[part].extend(next(drawn) for _ in range(count))
    return {part: sorted(paths) for part, paths in parts.items()}


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(b"%d\0%s" % (seed, os.fsencode(name))).digest()


def _apportion(total: int, shares: Mapping[str, float], *, least: int) -> dict[str, int]:
    """Whole numbers in the proportion of the shares: the largest remainders get what rounding down leaves."""
    # Rounded, so that 0.1 * 30 is 3 for every part.
    quotas = {part: round(total * share, 6) for part, share in shares.items()}
    counts = {part: max(least, int(quota)) for part, quota in quotas.items()}
    while sum(counts.values()) < total:
        part = max(quotas, key=lambda part: quotas[part] - counts[part])
        counts[part] += 1
    while sum(counts.values()) > total:
        part = max(counts, key=lambda part: counts[part] - quotas[part] if counts[part] > least else -1.0)
        counts[part] -= 1
    return counts


def summarise(paths: Sequence[str], identities: Iterable[str | None]) -> PartSummary:
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


def _write(
    config: SplitConfig,
    faces: FaceFolder,
    parts: Mapping[str, list[str]],
    digest: str,
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
        summaries[part] = summarise(paths, (identity_of[path] for path in paths))
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
        by=config.by,
        seed=config.seed,
        parts=summaries,
        pairs=out / PAIRS if pairs else None,
        pair_count=len(pairs),
    )
    outcome = {"digest": digest, "parts": {part: asdict(summary) for part, summary in summaries.items()}}
    about = {"fingerprint": faces.fingerprint.to_json(), **outcome, "pairs": len(pairs)}
    write_json(folder / SPLIT, {**stamp("split", to_json(config)), **about})
    return result


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links, or too many of them.
        shutil.copyfile(source, target)


def _digest(faces: FaceFolder) -> str:
    """Changes with the fingerprint and with the name or size of any crop."""
    state = hashlib.sha256(repr(faces.fingerprint).encode())
    for path in faces.paths:
        state.update(b"%s\0%d\0" % (os.fsencode(path), os.stat(faces.root / path).st_size))
    return state.hexdigest()


def _made_before(config: SplitConfig, out: Path, digest: str, reporter: Reporter) -> SplitResult:
    advice = "choose another -o, or remove it"
    if not (out / SPLIT).is_file():
        raise ConfigError(f"{shown(out)}: is there already, and is not a split; {advice}")
    content = read_json(out / SPLIT)
    then, now = content.get("config", {}), to_json(config)
    for name in ("by", *PARTS, "seed"):
        if then.get(name) != now[name]:
            raise ConfigError(f"{shown(out)}: was split with --{name} {then.get(name)}, not {now[name]}; {advice}")
    if content.get("digest") != digest:
        raise ConfigError(
            f"{shown(out)}: was made from other faces, or {shown(config.faces or '')} changed since; {advice}"
        )
    reporter.report(Notice(text=f"{shown(out)} is this very split already; nothing to do"))
    try:
        result = SplitResult(
            out=out,
            source=Path(then["faces"]),
            by=now["by"],
            seed=now["seed"],
            parts={part: PartSummary(**summary) for part, summary in content["parts"].items()},
            pairs=out / PAIRS if content["pairs"] else None,
            pair_count=content["pairs"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{out / SPLIT}: damaged or of another version; {advice}") from error
    return replace(result, was_there=True)
