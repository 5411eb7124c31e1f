"""Draws the pictures of docs/ except the map, with drawn people. `python docs/pictures.py`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.verify import VerifyConfig
from faceclr_cli.core.datasets.pairs.sampled_pairs import sample_pairs, write_pairs
from faceclr_cli.core.drawn.portraits import draw_photo, invent_person, write_people
from faceclr_cli.core.embeddings.embed import embed
from faceclr_cli.core.evaluation.verification.verify import VerifyResult, verify
from faceclr_cli.core.events import Silent
from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.plots.contact_sheet import draw_sheet
from faceclr_cli.core.plots.figure_style import DOTS, INK, QUIET, blank_figure, plain_style, save_whole
from faceclr_cli.core.plots.view_sheet import draw_views
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.training.contrastive_task import build_views

PEOPLE, PHOTOS, HEIGHT, WIDTH = 6, 7, 120, 100


def main() -> None:
    """Writes the pictures beside this file."""
    people()
    sheet()
    views()
    pairs()
    groups()


def people() -> None:
    """Draws five photographs of each person, and the crops of two others."""
    cropper = PhotoCropper(default_fingerprint())
    rows = []
    for who in range(1, PEOPLE + 1):
        photos = [draw_photo(invent_person(who), number).image for number in range(1, PHOTOS + 1)]
        crops = [cropper.crop_data(cv2.imencode(".png", photo[..., ::-1])[1].tobytes())[0].crop for photo in photos[:2]]
        small = [cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for photo in photos[2:]]
        faces = [cv2.resize(crop, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA) for crop in crops]
        gap = np.full((HEIGHT, 12, 3), 255, np.uint8)
        rows.append(np.hstack([*small, gap, *faces]))
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(Path(__file__).with_name("people.jpg")), sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])


def sheet() -> None:
    """Draws a contact sheet of prepared people, with a few files that `prepare` rejects."""
    with tempfile.TemporaryDirectory() as folder:
        photos, faces = Path(folder) / "photos", Path(folder) / "faces"
        write_people(photos, people=6, photos=4, seed=0, reporter=Silent())
        whole = (photos / "person-01" / "01.jpg").read_bytes()
        (photos / "person-01" / "half.jpg").write_bytes(whole[: len(whole) // 2])
        (photos / "person-02" / "letter.jpg").write_text("Dear all, ...")
        photo = cv2.imread(str(photos / "person-03" / "02.jpg"))
        cv2.imwrite(str(photos / "person-03" / "blurred.jpg"), cv2.GaussianBlur(photo, (0, 0), 6))
        cv2.imwrite(str(photos / "person-04" / "background.jpg"), cv2.flip(photo[:60], -1))
        prepare(PrepareConfig(source=photos, out=faces, min_sharpness=20.0), Silent())
        draw_sheet(faces, photos, Path(__file__).with_name("sheet.jpg"))


def views() -> None:
    """Draws the views of drawn faces by the recipes of `pretrain --augment`."""
    cropper = PhotoCropper(default_fingerprint())
    photos = [draw_photo(invent_person(who), 1).image for who in (1, 4, 3, 2, 5, 6)]
    crops = np.stack(
        [cropper.crop_data(cv2.imencode(".png", photo[..., ::-1])[1].tobytes())[0].crop for photo in photos]
    )
    rows = []
    for augment, some in (("faces", crops[:2]), ("heads", crops[2:4]), ("simclr", crops[4:])):
        make = build_views(PretrainConfig(method="simclr", augment=augment), 112)
        chance = torch.rand(len(some), 8, make.draws, generator=torch.Generator().manual_seed(0))
        made = make(torch.from_numpy(some), chance).add(1).mul(127.5).round().clamp(0, 255).byte()
        rows.append(made.view(8, len(some), 3, 112, 112).permute(1, 0, 3, 4, 2).numpy())
    draw_views(
        crops,
        np.concatenate(rows),
        Path(__file__).with_name("views.jpg"),
        title="Random views of drawn faces",
        subtitle="Left: the originals. Two rows of each recipe: faces, heads, simclr",
    )


def pairs() -> None:
    """Draws two pairs with their aligned faces, and the plot of `verify --protocol lfw --plot` for a thousand pairs."""
    with tempfile.TemporaryDirectory() as folder:
        photos, listed = Path(folder) / "photos", Path(folder) / "drawn people"
        write_people(photos, people=60, photos=6, seed=0, reporter=Silent())
        names = [path.relative_to(photos).as_posix() for path in sorted(photos.rglob("*.jpg"))]
        write_pairs(listed, sample_pairs(names, [name.split("/")[0] for name in names], count=500))
        plot = Path(__file__).with_name("roc.png")
        verify(VerifyConfig(protocol="lfw", pairs=listed, root=photos, plot=plot), Silent())
        rows, captions = [], []
        for one, other in (("person-03/01.jpg", "person-03/04.jpg"), ("person-03/01.jpg", "person-09/02.jpg")):
            crops = Path(folder) / other[:9]
            verdict = verify(VerifyConfig(photos=(photos / one, photos / other), save_crops=crops), Silent())
            if not isinstance(verdict, VerifyResult):
                raise TypeError("two photographs give one verdict")
            rows.append([read_photo(file) for file in (photos / one, photos / other, *sorted(crops.rglob("*.png")))])
            captions.append(f"{verdict.similarity:.3f}, {'same person' if verdict.same else 'different people'}")
        draw_pairs(rows, captions, Path(__file__).with_name("pair.jpg"))


def draw_pairs(rows: Sequence[Sequence[NDArray[np.uint8]]], captions: Sequence[str], out: Path) -> None:
    """Draws a row for each pair: two photographs, the two faces in them, and a caption."""
    side, gap, head, text_width = 200, 8, 44, 290
    shown = [[_scale_to_height(picture, side) for picture in pictures] for pictures in rows]
    widths = [max(picture.shape[1] for picture in column) for column in zip(*shown, strict=True)]
    gaps = (gap, gap, 4 * gap, gap)
    lefts = [sum(gaps[: place + 1]) + sum(widths[:place]) for place in range(len(widths))]
    text_left = lefts[-1] + widths[-1] + 3 * gap
    height, width = head + len(rows) * (side + gap), text_left + text_width
    canvas = np.full((height, width, 3), 255, np.uint8)
    for row, pictures in enumerate(shown):
        top = head + row * (side + gap)
        for left, picture in zip(lefts, pictures, strict=True):
            canvas[top : top + side, left : left + picture.shape[1]] = picture
    columns = ((lefts[0], "photographs"), (lefts[2], "faces as the encoder sees them"), (text_left, "similarity"))
    with plain_style():
        figure = blank_figure(width / DOTS, height / DOTS)
        figure.figimage(canvas)
        for left, text in columns:
            figure.text(left / width, 1 - 28 / height, text, size=9, color=QUIET, va="baseline")
        for row, caption in enumerate(captions):
            middle = head + row * (side + gap) + side / 2
            figure.text(text_left / width, 1 - middle / height, caption, size=10, color=INK, va="center")
        save_whole(figure, out)


def _scale_to_height(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    size = (round(height * picture.shape[1] / picture.shape[0]), height)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def groups() -> None:
    """Draws the plot of `verify --groups-plot` for people who are sharp, slightly blurred or out of focus."""
    with tempfile.TemporaryDirectory() as folder:
        photos, listed, store = (Path(folder) / name for name in ("photos", "groups.csv", "sface.h5"))
        write_people(photos, people=120, photos=4, seed=0, reporter=Silent())
        lines = ["identity,focus\n"]
        for number, person in enumerate(sorted(photos.iterdir())):
            focus, scale = (("sharp", 1.0), ("soft", 0.25), ("blurred", 0.18))[number % 3]
            lines.append(f"{person.name},{focus}\n")
            for photo in person.iterdir() if scale < 1 else ():
                pixels = cv2.imread(str(photo))
                small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                cv2.imwrite(str(photo), cv2.resize(small, pixels.shape[1::-1]))
        listed.write_text("".join(lines))
        embed(EmbedConfig(faces=photos, out=store), Silent())
        plot = Path(__file__).with_name("groups.png")
        verify(VerifyConfig(embeddings=store, all_pairs=True, groups=listed, groups_plot=plot, far=0.01), Silent())


if __name__ == "__main__":
    main()
