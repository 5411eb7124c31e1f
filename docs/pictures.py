"""Draws docs/people.jpg: six people who do not exist, photographs and aligned crops. `python docs/pictures.py`."""

from pathlib import Path

import cv2
import numpy as np

from faceclr_cli.core.faces.crop import PhotoCropper, default_fingerprint
from faceclr_cli.core.faces.drawn import draw_photo, invent_person

PEOPLE, PHOTOS, HEIGHT, WIDTH = 6, 7, 120, 100


def main() -> None:
    """Writes the picture beside this file: five photographs of each person and the crops of two others."""
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


if __name__ == "__main__":
    main()
