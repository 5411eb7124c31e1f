"""The one way from a photograph to a crop, for `prepare` and for whatever aligns on the fly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.align import INTERPOLATION, Alignment, reduction
from faceclr_cli.core.faces.decode import Picture, read_bytes
from faceclr_cli.core.faces.detect import LONG_SIDE, Detector, Face, Selection, UnfitError
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.faces.haar import Haar
from faceclr_cli.core.faces.mtcnn import Mtcnn
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.faces.yunet import YuNet

DETECTORS: dict[str, Callable[[float | None], Detector]] = {"yunet": YuNet, "haar": Haar, "mtcnn": Mtcnn}
"""By the first word of their names: `min_score` -> detector."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedFace:
    """A face cut out of a photograph.

    Attributes:
        crop: RGB, 0-255. Shape: (size, size, 3).
        face: Where it was, in pixels of the full, upright photograph.
        faces_found: How many faces the photograph shows.
    """

    crop: NDArray[np.uint8]
    face: Face
    faces_found: int


def fingerprint_of(detector: str, alignment: Alignment) -> Fingerprint:
    """The preprocessing of crops that this version makes.

    Args:
        detector: `yunet`, `haar` or `mtcnn`.
        alignment: How faces are cut out.

    Raises:
        ConfigError: The detector is not installed.
        ModelError: Its weights are missing.
    """
    finder = DETECTORS[detector](None)
    return Fingerprint(
        detector=finder.name,
        detector_digest=finder.digest,
        template=alignment.template,
        size=alignment.size,
        interpolation=INTERPOLATION,
        padding=alignment.padding,
    )


def default_fingerprint(size: int = 112) -> Fingerprint:
    """The preprocessing that encoders get where nobody asks for another. Loads no network."""
    alignment = Alignment(size=size)
    return Fingerprint(
        detector=YuNet.name,
        detector_digest=YuNet.digest,
        template=alignment.template,
        size=size,
        interpolation=INTERPOLATION,
        padding=alignment.padding,
    )


def fingerprint_for_foreign_crops(template: str | None, size: int) -> Fingerprint:
    """The fingerprint of crops of which nothing but the template is known, or not even that."""
    return Fingerprint(
        detector=UNKNOWN,
        detector_digest=UNKNOWN,
        template=template or UNKNOWN,
        size=size,
        interpolation=UNKNOWN,
        padding=UNKNOWN,
    )


class PhotoCropper:
    """Makes the crops that a fingerprint describes. Its channel order and normalization don't matter here.

    What is unknown of a fingerprint whose template is known is done in this version's usual way.

    Attributes:
        fingerprint: How the crops are really made.

    Args:
        fingerprint: That of an encoder or of prepared faces.
        selection: Which faces are taken.

    Raises:
        ModelError: The fingerprint asks for a detector, template or interpolation that is not here, or
            the detector's weights are not.
        ConfigError: The detector is an extra that is not installed.

    Examples:
        >>> import cv2
        >>> from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
        >>> picture = cv2.imencode(".png", draw_photo(invent_person(1), seed=1).image[:, :, ::-1])[1].tobytes()
        >>> faces = PhotoCropper(default_fingerprint(), Selection(choice="all")).crop_data(picture)
        >>> len(faces), faces[0].crop.shape
        (1, (112, 112, 3))
    """

    def __init__(self, fingerprint: Fingerprint, selection: Selection | None = None) -> None:
        self.fingerprint = _completed(fingerprint)
        self._selection = selection or Selection()
        self._alignment = _alignment(self.fingerprint)
        self._detector = _detector(self.fingerprint, self._selection.min_score)

    def crop_data(self, data: bytes, origin: Path | str = "picture") -> list[AlignedFace]:
        """Decodes a photograph, finds faces and cuts them out.

        Large JPEGs are decoded at a fraction of their size as long as no face needs more pixels.

        Args:
            data: What is in the file.
            origin: What to call the picture in errors.

        Returns:
            One crop; more only if the selection takes all faces.

        Raises:
            BadPictureError: It is not a picture that can be decoded.
            UnfitError: It shows no face that is wanted.
        """
        picture = Picture(data, origin)
        shrunk = picture.shrink_to(LONG_SIDE)
        image = picture.pixels(shrunk)
        found = self._detector.detect(image)
        # Sizes are those of the full photograph, whatever it was decoded to.
        height, width = (side * shrunk for side in image.shape[:2])
        taken = self._selection.take([face.scaled(shrunk) for face in found], (height, width), origin)
        enough = min(self._reduction(face, origin) for face in taken)
        if enough < shrunk:
            shrunk = enough
            image = picture.pixels(shrunk)
        return [
            AlignedFace(crop=self._alignment.cut(image, face.scaled(1 / shrunk)), face=face, faces_found=len(found))
            for face in taken
        ]

    def crop_file(self, path: Path) -> AlignedFace:
        """The first of the crops of a file; see `crop_data`.

        Raises:
            DataError: The file is missing or cannot be read.
            UnreadableImageError: It is not a picture that can be decoded.
            NoFaceError: It shows no face that is wanted.
        """
        return self.crop_data(read_bytes(path), path)[0]

    def _reduction(self, face: Face, origin: Path | str) -> int:
        try:
            return reduction(self._alignment.place(face)[0])
        except ValueError as error:
            raise UnfitError(origin, Reason.NO_FACE, f"no face found ({error})") from error


def _completed(fingerprint: Fingerprint) -> Fingerprint:
    if fingerprint.detector != UNKNOWN:
        return fingerprint
    usual = default_fingerprint(fingerprint.size)
    if fingerprint.template != usual.template:
        raise ModelError(
            "this encoder was trained on crops that were made elsewhere, so photographs cannot be cropped for it; "
            "give it such crops, through faceclr prepare --detector none"
        )
    return replace(usual, channels=fingerprint.channels, normalization=fingerprint.normalization)


def _alignment(fingerprint: Fingerprint) -> Alignment:
    try:
        alignment = Alignment.named(fingerprint.template, fingerprint.padding, fingerprint.size)
    except ValueError:
        raise _not_here("template", fingerprint.template, "arcface, eyes and box") from None
    if fingerprint.interpolation != INTERPOLATION:
        raise _not_here("interpolation", fingerprint.interpolation, INTERPOLATION)
    return alignment


def _detector(fingerprint: Fingerprint, min_score: float | None) -> Detector:
    make = DETECTORS.get(fingerprint.detector.split(" ")[0])
    if make is None:
        raise _not_here("detector", fingerprint.detector, ", ".join(DETECTORS))
    detector = make(min_score)
    if detector.name != fingerprint.detector:
        raise _not_here("detector", fingerprint.detector, detector.name)
    if detector.digest != fingerprint.detector_digest:
        raise _not_here("detector digest", fingerprint.detector_digest, detector.digest)
    return detector


def _not_here(field: str, asked: str, here: str) -> ModelError:
    return ModelError(
        f"this encoder needs faces made with {field} {asked!r}, and this faceclr makes them with {here}; "
        "use another encoder or release"
    )
