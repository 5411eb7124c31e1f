"""The files for typing what the documentation shows: a folder with the files that it names.

The people are drawn, but for two photographs that matplotlib and scikit-image bring along.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray

from faceclr_cli.core.drawn.portraits import write_people
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint

_SMALL = """\
# Networks as small as can be, since what is walked through is what is typed, not what is learned.
[pretrain]
backbone = "test_resnet"
image-size = 32
embedding-dim = 16
epochs = 2
batch-size = 16

[distill]
backbone = "test_resnet"
image-size = 32
epochs = 1
batch-size = 16

[train-triplet]
backbone = "test_resnet"
image-size = 32
embedding-dim = 16
epochs = 2
batch-size = 16

[train-center]
backbone = "test_resnet"
image-size = 32
embedding-dim = 16
epochs = 3
batch-size = 16
"""


def set_up(desk: Path) -> None:
    """Writes all files that the pages name into an empty folder."""
    drawn = desk.with_name(f"{desk.name}-drawn")
    write_people(drawn, people=32, photos=10, seed=7, reporter=Silent(), workers=os.cpu_count() or 1)
    people = sorted(drawn.iterdir())
    (desk / "faceclr.toml").write_text(_SMALL)
    (desk / "people.txt").write_text("7\n8\n")
    _portraits(desk)
    _celeba(desk / "celeba", people[:20])
    _folders(desk / "people", people[20:25], slice(0, 5))
    _folders(desk / "people-2024", people[20:28], slice(5, 8))
    _heap(desk, people[29:])
    _film(desk / "holiday.mp4", [desk / "party.jpg", next(people[20].iterdir())])
    (desk / "films").mkdir()
    shutil.copy(desk / "holiday.mp4", desk / "films" / "1.mp4")
    _lfw(desk, people[:10])
    _cfp(desk / "cfp-dataset", people[:20])
    _aligned(desk / "crops-112", people[:3])
    _vggface2(desk / "vggface2", people)
    shutil.rmtree(drawn)


def _portraits(desk: Path) -> None:
    """Two photographs of one person, one of two people, and some more of the first in a gallery."""
    with get_sample_data("grace_hopper.jpg") as file:
        hopper = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)
    collins = skimage.data.astronaut()[:300, 60:390, ::-1]
    _write(desk / "a.jpg", hopper)
    _write(desk / "b.jpg", _darker(hopper[20:520, 30:480], 0.8))
    for name in ("door.jpg", "badge.jpg"):
        shutil.copy(desk / "a.jpg", desk / name)
    height = 400
    beside = [cv2.resize(each, (round(each.shape[1] * height / len(each)), height)) for each in (hopper, collins)]
    _write(desk / "party.jpg", np.hstack(beside))
    for number, share in enumerate((1.0, 0.9, 0.8, 0.7, 0.6), start=1):
        _write(desk / "people" / "grace_hopper" / f"{number}.jpg", _darker(hopper[5 * number :, 3 * number :], share))
    for number, share in enumerate((0.95, 0.75), start=1):
        _write(desk / "visitor" / f"{number}.jpg", _darker(hopper[20 + number : 520, 25:490], share))


def _celeba(root: Path, people: list[Path]) -> None:
    (root / "img_celeba").mkdir(parents=True)
    lines = []
    for who, folder in enumerate(people, start=1):
        for photo in sorted(folder.iterdir()):
            name = f"{len(lines) + 1:06d}.jpg"
            shutil.copy(photo, root / "img_celeba" / name)
            lines.append(f"{name} {who}\n")
    # One picture shows no face.
    lines.append(f"{len(lines) + 1:06d}.jpg 1\n")
    _write(root / "img_celeba" / lines[-1].split()[0], np.full((218, 178, 3), 128, np.uint8))
    (root / "identity_CelebA.txt").write_text("".join(lines))


def _folders(root: Path, people: list[Path], which: slice) -> None:
    for folder in people:
        (root / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[which]:
            shutil.copy(photo, root / folder.name)


def _heap(desk: Path, people: list[Path]) -> None:
    """Photographs of unknown people, newer than a stamp, and pairs of them."""
    (desk / "photos").mkdir()
    (desk / "stamp").write_text("")
    os.utime(desk / "stamp", (0, 0))
    names = []
    for folder in people:
        for photo in sorted(folder.iterdir())[:6]:
            names.append(f"{folder.name}-{photo.name}")
            shutil.copy(photo, desk / "photos" / names[-1])
    shutil.copy(desk / "party.jpg", desk / "photos")
    (desk / "pairs.csv").write_text("".join(f"{a},{b}\n" for a, b in pairwise(names)))


def _film(path: Path, photos: list[Path]) -> None:
    """A second of each photograph, as the camera moves to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for photo in photos:
            whole = cv2.cvtColor(cv2.imread(str(photo)), cv2.COLOR_BGR2RGB)
            high = cv2.resize(whole, (round(whole.shape[1] * 360 / len(whole)), 360))
            wide = cv2.copyMakeBorder(high, 0, 0, 100, 640, cv2.BORDER_REPLICATE)
            for at in range(0, 60, 6):
                frame = np.ascontiguousarray(wide[:, at : at + 640])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _lfw(desk: Path, people: list[Path]) -> None:
    """Its layout, also as an archive, ten folds of pairs of each kind, and two templates of each person."""
    names = [f"Drawn_Person_{number}" for number in range(len(people))]
    for name, folder in zip(names, people, strict=True):
        (desk / "lfw" / name).mkdir(parents=True)
        for number, photo in enumerate(sorted(folder.iterdir())[:4], start=1):
            shutil.copy(photo, desk / "lfw" / name / f"{name}_{number:04d}.jpg")
    with tarfile.open(desk / "lfw.tgz", "w:gz") as archive:
        archive.add(desk / "lfw", "lfw")
    lines = ["10\t2"]
    for fold, name in enumerate(names):
        others = [names[(fold + step) % len(names)] for step in (1, 2)]
        lines += [
            f"{name}\t1\t2",
            f"{name}\t3\t4",
            *(f"{name}\t{place}\t{other}\t2" for place, other in enumerate(others, 1)),
        ]
    (desk / "pairs.txt").write_text("\n".join(lines) + "\n")
    rows = [
        f"{name}/{name}_{number:04d}.jpg,{name}-{(number + 1) // 2},{name}" for name in names for number in range(1, 5)
    ]
    (desk / "templates.csv").write_text("path,template,person\n" + "\n".join(rows) + "\n")
    known = [*names, *(f"person-{number:02d}" for number in range(1, 33)), *map(str, range(1, 21))]
    listed = [f"{name},{'under 40' if place % 2 else '40 and older'}\n" for place, name in enumerate(known)]
    (desk / "groups.csv").write_text("identity,age\n" + "".join(listed))


def _cfp(root: Path, people: list[Path]) -> None:
    """The layout of the archive: two people a split, with two frontal pictures and a profile each."""
    for number, folder in enumerate(people, start=1):
        frontal, profile = (root / "Data" / "Images" / f"{number:03d}" / kind for kind in ("frontal", "profile"))
        for place, photo in zip(
            (frontal / "01.jpg", frontal / "02.jpg", profile / "01.jpg"), sorted(folder.iterdir()), strict=False
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photo, place)
    (root / "Protocol").mkdir()
    for letter, kind, pictures in (("F", "frontal", ("01", "02")), ("P", "profile", ("01",))):
        paths = [f"../Data/Images/{who:03d}/{kind}/{x}.jpg" for who in range(1, len(people) + 1) for x in pictures]
        listed = "".join(f"{place} {path}\n" for place, path in enumerate(paths, start=1))
        (root / "Protocol" / f"Pair_list_{letter}.txt").write_text(listed)
    for split in range(len(people) // 2):
        f, p = 4 * split + 1, 2 * split + 1
        for kind, same, different in (
            ("FP", f"{f},{p}\n{f + 2},{p + 1}\n", f"{f},{p + 1}\n{f + 2},{p}\n"),
            ("FF", f"{f},{f + 1}\n{f + 2},{f + 3}\n", f"{f},{f + 2}\n{f + 1},{f + 3}\n"),
        ):
            folder = root / "Protocol" / "Split" / kind / f"{split + 1:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same)
            (folder / "diff.txt").write_text(different)


def _aligned(root: Path, people: list[Path]) -> None:
    """Crops that some other tool aligned onto the same template."""
    cropper = PhotoCropper(default_fingerprint())
    for folder in people:
        for photo in sorted(folder.iterdir())[:6]:
            (face,) = cropper.crop_data(photo.read_bytes())[:1]
            _write(root / folder.name / photo.name, face.crop[..., ::-1])


def _vggface2(root: Path, people: list[Path]) -> None:
    for part, some in (("train", people[:20]), ("test", people[20:26])):
        for number, folder in enumerate(some):
            place = root / part / f"n{part == 'test':d}{number:05d}"
            place.mkdir(parents=True)
            for photo in sorted(folder.iterdir())[:8]:
                shutil.copy(photo, place)


def _darker(image: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    return (image * share).astype(np.uint8)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(path)
