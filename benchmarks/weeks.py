"""A collection that arrives in three weeks, with a user who corrects its groups in between.

    python benchmarks/weeks.py celeba-layout lfw-view1/images --scratch SCRATCH

The labeled photographs of all folders are mixed and divided into three parts; the largest face of each is used.
`cluster` updates one folder of groups with each part. In between, a simulated user names the largest groups, moves
faces that are in the wrong group, merges groups of one person, takes faces out and ignores people. For each week the
script prints B-cubed F (precision, recall) of the updated groups, of the same photographs grouped at once in a new
folder, and of the groups after the corrections; and the number of lost corrections.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from faceclr_cli.core.configs.cluster import ClusterConfig
from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.embeddings.store import read_store, write_store
from faceclr_cli.core.evaluation.clustering.cluster import cluster
from faceclr_cli.core.events import Silent
from faceclr_cli.core.metrics.cluster_agreement import Agreement, cluster_scores
from faceclr_cli.core.sources.layouts import find_photos

WEEKS = 3


@dataclass
class User:
    """Corrects groups according to the true people, and remembers all decisions.

    Attributes:
        out: The folder of groups.
        truth: The person on each photograph.
        belongs: The folder that a photograph was put into.
        apart: The folders that a photograph was taken out of.
        ignored: Photographs of ignored people.
        names: Folders of named people.
    """

    out: Path
    truth: dict[str, str]
    belongs: dict[str, str] = field(default_factory=dict)
    apart: list[tuple[str, str]] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)

    def correct(self, named: int, merged: int, taken_out: int, ignored: int) -> int:
        """Makes at most the given number of corrections of each kind, and returns how many were made."""
        made = 0
        groups = {
            folder: faces for folder, faces in folders(self.out, self.truth).items() if not folder.startswith("_")
        }
        person_of = {
            folder: Counter(self.truth[p] for p in sorted(faces)).most_common(1)[0][0]
            for folder, faces in groups.items()
        }
        by_size = sorted(groups, key=lambda folder: (-len(groups[folder]), folder))
        for folder in [folder for folder in by_size if person_of[folder] not in self.names][:named]:
            if person_of[folder] in self.names:
                continue  # a second group of the same person, to be merged
            name = f"person {person_of[folder]}"
            (self.out / folder).rename(self.out / name)
            self.names[person_of[folder]] = name
            self.belongs |= dict.fromkeys((p for p in groups[folder] if self.truth[p] == person_of[folder]), name)
            made += 1
        for person, name in self.names.items():
            for photo, path in links(self.out, name, self.truth).items():
                right = self.names.get(self.truth[photo])
                if self.truth[photo] != person and right is not None:
                    made += self._move(photo, path, right)
                elif self.truth[photo] != person and taken_out:
                    path.unlink()
                    self.belongs.pop(photo, None)
                    self.apart.append((photo, name))
                    taken_out -= 1
                    made += 1
        rest = [folder for folder in by_size if (self.out / folder).is_dir() and folder not in self.names.values()]
        for folder in [folder for folder in rest if person_of[folder] in self.names][:merged]:
            for photo, path in links(self.out, folder, self.truth).items():
                self._move(photo, path, self.names[person_of[folder]])
            made += 1
        for folder in [folder for folder in rest if person_of[folder] not in self.names][:ignored]:
            self.ignored |= set(links(self.out, folder, self.truth))
            (self.out / "_/ignored").mkdir(parents=True, exist_ok=True)
            (self.out / folder).rename(self.out / "_/ignored" / folder)
            made += 1
        return made

    def _move(self, photo: str, path: Path, folder: str) -> int:
        path.rename(self.out / folder / path.name)
        self.belongs[photo] = folder
        return 1

    def lost(self) -> list[str]:
        """Returns the photographs whose correction was not kept."""
        place = {photo: folder for folder, photos in folders(self.out, self.truth).items() for photo in photos}
        return [
            *(photo for photo, folder in self.belongs.items() if place.get(photo) != folder),
            *(photo for photo, folder in self.apart if place.get(photo) == folder),
            *(photo for photo in self.ignored if not place.get(photo, "_/ignored").startswith("_/ignored")),
        ]


def links(out: Path, folder: str, truth: dict[str, str]) -> dict[str, Path]:
    """Returns the link of the labeled face of each photograph in a folder."""
    labeled = {str(row["link"]).rpartition("/")[2]: row["path"] for row in rows(out) if row["path"] in truth}
    return {labeled[path.name]: path for path in sorted((out / folder).iterdir()) if path.name in labeled}


def folders(out: Path, truth: dict[str, str]) -> dict[str, set[str]]:
    """Returns the photographs with their labeled face in each folder."""
    names = {path.name: path.parent.relative_to(out).as_posix() for path in out.rglob("*.jpg")}
    found = defaultdict[str, set[str]](set)
    for row in rows(out):
        name = str(row["link"]).rpartition("/")[2]
        if name in names and row["path"] in truth:
            found[names[name]].add(row["path"])
    return found


def rows(out: Path) -> list[dict[str, object]]:
    """Returns the largest face of each photograph, which is the labeled one."""
    largest: dict[str, dict[str, object]] = {}
    for line in (out / "faces.jsonl").read_text().splitlines():
        row = json.loads(line)
        area = row["box"][2] * row["box"][3]
        if row["path"] not in largest or area > largest[row["path"]]["area"]:
            largest[row["path"]] = row | {"area": area}
    return list(largest.values())


def scores(out: Path, truth: dict[str, str]) -> Agreement:
    """Returns B-cubed of the labeled faces; single and removed faces are separate groups."""
    numbers: dict[str, int] = {}
    people, groups = [], []
    for row in rows(out):
        if row["path"] in truth:
            folder = str(row["link"] or "_").rpartition("/")[0]
            people.append(truth[str(row["path"])])
            groups.append(-1 if folder in ("", "_", "_/ignored") else numbers.setdefault(folder, len(numbers)))
    return cluster_scores(people, np.array(groups)).bcubed


def collect(sources: list[Path], photos: Path) -> dict[str, str]:
    """Links all labeled photographs under neutral names, in random order; returns the person of each."""
    found = [(photo.path, f"{number}-{photo.identity}") for number, source in enumerate(sources)
             for photo in find_photos(source).photos if photo.identity is not None]  # fmt: skip
    random.Random(0).shuffle(found)
    photos.mkdir(parents=True, exist_ok=True)
    truth = {}
    for number, (path, person) in enumerate(found):
        name = f"IMG_{number:05d}.jpg"
        truth[name] = person
        if not (photos / name).exists():
            try:
                os.link(path, photos / name)
            except OSError:
                shutil.copyfile(path, photos / name)
    return truth


def _percent(found: Agreement) -> str:
    return f"{100 * found.f:.2f}% ({100 * found.precision:.2f}, {100 * found.recall:.2f})"


def main() -> None:
    """Runs the three weeks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIR")
    parser.add_argument("--named", type=int, default=20, help="groups that the user names between two weeks")
    parser.add_argument("--embed-only", action="store_true", help="stop when the photographs are embedded")
    given = parser.parse_args()
    photos, out = given.scratch / "photos", given.scratch / "groups"
    truth = collect(given.sources, photos)
    if not (given.scratch / "all.h5").is_file():
        embed(EmbedConfig(faces=photos, out=given.scratch / "all.h5"), Silent())
    if given.embed_only:
        return
    whole = read_store(given.scratch / "all.h5")
    shutil.rmtree(out, ignore_errors=True)
    user = User(out=out, truth=truth)
    print("| week | photographs | updated | at once | after corrections | corrections | lost |")
    print("|---|---|---|---|---|---|---|")
    for week in range(1, WEEKS + 1):
        known = set(sorted(truth)[: len(truth) * week // WEEKS])
        here = np.array([row for row, path in enumerate(whole.paths) if path in known])
        write_store(given.scratch / "faces.h5", whole.take(here))
        config = ClusterConfig(source=given.scratch / "faces.h5", faces=photos, out=out)
        cluster(config, Silent())
        lost = len(user.lost())
        shutil.rmtree(given.scratch / "at-once", ignore_errors=True)
        cluster(ClusterConfig(source=config.source, faces=photos, out=given.scratch / "at-once"), Silent())
        updated, at_once = scores(out, truth), scores(given.scratch / "at-once", truth)
        made, corrected = 0, updated
        if week < WEEKS:
            made = user.correct(named=given.named, merged=10, taken_out=20, ignored=3)
            cluster(config, Silent())
            lost += len(user.lost())
            corrected = scores(out, truth)
        shown = [_percent(each) for each in (updated, at_once, corrected)]
        print(f"| {week} | {len(known):,} | {' | '.join(shown)} | {made} | {lost} |", flush=True)


if __name__ == "__main__":
    main()
