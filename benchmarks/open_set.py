"""Open-set identification with a single gallery picture per person.

python benchmarks/open_set.py LFW/images

LFW/images has a folder for each person. The gallery consists of the first picture of the first 120 people, by name,
with three or more pictures. Known probes are their next two pictures; unknown probes are the pictures of the first 150
people with a single picture.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

_KNOWN, _UNKNOWN = 120, 150


def main() -> None:
    """Links the pictures and runs `faceclr identify --evaluate`."""
    parser = argparse.ArgumentParser(description="Open-set identification with a single gallery picture per person")
    parser.add_argument("images", type=Path, help="a folder of folders of people")
    parser.add_argument("--model", default="sface")
    options = parser.parse_args()
    people = {folder.name: sorted(folder.iterdir()) for folder in sorted(options.images.resolve().iterdir())}
    known = [name for name, pictures in people.items() if len(pictures) >= 3][:_KNOWN]
    unknown = [name for name, pictures in people.items() if len(pictures) == 1][:_UNKNOWN]
    with tempfile.TemporaryDirectory() as scratch:
        gallery, probes = Path(scratch, "gallery"), Path(scratch, "probes")
        for name in known:
            link(people[name][:1], gallery / name)
            link(people[name][1:3], probes / name)
        for name in unknown:
            link(people[name], probes / name)
        command = [sys.executable, "-m", "faceclr_cli", "identify", str(probes), "--gallery", str(gallery)]
        subprocess.run([*command, "--evaluate", "--face", "center", "--model", options.model], check=True)


def link(pictures: list[Path], folder: Path) -> None:
    """Links the pictures of a person into a folder."""
    folder.mkdir(parents=True)
    for picture in pictures:
        (folder / picture.name).symlink_to(picture)


if __name__ == "__main__":
    main()
