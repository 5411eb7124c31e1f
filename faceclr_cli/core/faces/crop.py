"""Detection, alignment and cropping of the faces in a photo, shared by all commands that take photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.align import INTERPOLATION, Alignment, reduction
from faceclr_cli.core.faces.decode import Picture, read_bytes
from faceclr_cli.core.faces.detect import LONG_SIDE, Detector, Face, Selection, UnfitError
from faceclr_cli.core.faces.fingerprint import LANDMARKS, UNKNOWN, Fingerprint
from faceclr_cli.core.faces.haar import Haar
from faceclr_cli.core.faces.mtcnn import Mtcnn
from faceclr_cli.core.faces.reasons import Reason
from faceclr_cli.core.faces.yunet import YuNet

DETECTORS: dict[str, Callable[[float | None], Detector]] = {"yunet": YuNet, "haar": Haar, "mtcnn": Mtcnn}
"""Detector constructors, which take `min_score`, by the first word of the detector's name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedFace:
    """A face cropped from a photo.

    Attributes:
        crop: RGB, 0-255. Shape: (size, size, 3).
        face: Position in pixels of the full-size, upright photo.
        faces_found: Number of faces found in the photo.
    """

    crop: NDArray[np.uint8]
    face: Face
    faces_found: int


def fingerprint_of(detector: str, alignment: Alignment) -> Fingerprint:
    """Returns the fingerprint of crops that this version makes.

    Args:
        detector: `yunet`, `haar` or `mtcnn`.
        alignment: How faces are aligned and cropped.

    Raises:
        ConfigError: The detector is not installed.
        ModelError: The weights of the detector are missing.
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
    """Returns the fingerprint of crops made with the default options. Does not load the detector."""
    alignment = Alignment(size=size)
    return Fingerprint(
        detector=YuNet.name,
        detector_digest=YuNet.digest,
        template=alignment.template,
        size=size,
        interpolation=INTERPOLATION,
        padding=alignment.padding,
    )


def fingerprint_for_landmarks(alignment: Alignment) -> Fingerprint:
    """Returns the fingerprint of crops that this version makes by landmarks from a file."""
    return Fingerprint(
        detector=LANDMARKS,
        detector_digest=UNKNOWN,
        template=alignment.template,
        size=alignment.size,
        interpolation=INTERPOLATION,
        padding=alignment.padding,
    )


def fingerprint_for_foreign_crops(template: str | None, size: int) -> Fingerprint:
    """Returns the fingerprint of crops made elsewhere. At most their template is known."""
    return Fingerprint(
        detector=UNKNOWN,
        detector_digest=UNKNOWN,
        template=template or UNKNOWN,
        size=size,
        interpolation=UNKNOWN,
        padding=UNKNOWN,
    )


class PhotoCropper:
    """Crops faces as a fingerprint describes. Channel order and normalization of the fingerprint are ignored.

    If only the template of the fingerprint is known, the other steps use the defaults of this version.

    Attributes:
        fingerprint: The fingerprint of the crops, with unknown steps replaced by the defaults.

    Args:
        fingerprint: Fingerprint of an encoder or of prepared faces.
        selection: Which faces to use.
        detects: False if the faces are always given, so that no detector is needed.

    Raises:
        ModelError: This version does not have the detector, template or interpolation of the fingerprint, or the
            weights of the detector are missing.
        ConfigError: The detector is an extra that is not installed.

    Examples:
        >>> import cv2
        >>> from faceclr_cli.core.drawn.portraits import draw_photo, invent_person
        >>> picture = cv2.imencode(".png", draw_photo(invent_person(1), seed=1).image[:, :, ::-1])[1].tobytes()
        >>> faces = PhotoCropper(default_fingerprint(), Selection(choice="all")).crop_data(picture)
        >>> len(faces), faces[0].crop.shape
        (1, (112, 112, 3))
    """

    def __init__(self, fingerprint: Fingerprint, selection: Selection | None = None, *, detects: bool = True) -> None:
        self.fingerprint = _fill_unknown(fingerprint) if detects else fingerprint
        self._selection = selection or Selection()
        self._alignment = _alignment(self.fingerprint)
        self._detector = _detector(self.fingerprint, self._selection.min_score) if detects else None

    def crop_data(self, data: bytes, origin: Path | str = "picture", given: Sequence[Face] = ()) -> list[AlignedFace]:
        """Decodes a photo, detects faces and crops them.

        Large JPEGs are decoded at a fraction of their size if no face needs more pixels.

        Args:
            data: Content of the file.
            origin: Name of the picture in errors.
            given: The faces, in pixels of the full-size, upright photo, if no detector is to find them.

        Returns:
            One crop, or more if the selection takes all faces.

        Raises:
            BadPictureError: The picture cannot be decoded.
            UnfitError: The picture shows no face that passes the selection.
        """
        picture = Picture(data, origin)
        shrunk = picture.shrink_to(LONG_SIDE)
        image = picture.pixels(shrunk)
        # Face sizes refer to the full-size photo, regardless of the decoded size.
        height, width = (side * shrunk for side in image.shape[:2])
        if self._detector is None or given:
            found = _require_inside(given, (height, width), origin)
        else:
            found = [face.scaled(shrunk) for face in self._detector.detect(image)]
        taken = self._selection.take(found, (height, width), origin)
        needed = min(self._reduction(face, origin) for face in taken)
        if needed < shrunk:
            shrunk = needed
            image = picture.pixels(shrunk)
        return [
            AlignedFace(crop=self._alignment.cut(image, face.scaled(1 / shrunk)), face=face, faces_found=len(found))
            for face in taken
        ]

    def crop_frame(self, frame: NDArray[np.uint8], selection: Selection) -> list[AlignedFace]:
        """Detects faces in a picture that is already decoded, such as a frame of a film, and crops them.

        Args:
            frame: RGB, upright. Shape: (height, width, 3).
            selection: Which faces to use.

        Returns:
            One crop or more; none if the picture shows no face that passes the selection.
        """
        if self._detector is None:
            return []
        found = self._detector.detect(frame)
        try:
            return [
                AlignedFace(crop=self._alignment.cut(frame, face), face=face, faces_found=len(found))
                for face in selection.take(found, frame.shape, "frame")
            ]
        except (UnfitError, ValueError):
            return []

    def crop_file(self, path: Path) -> AlignedFace:
        """Crops the first face of a file; see `crop_data`.

        Raises:
            DataError: The file is missing or cannot be read.
            UnreadableImageError: The picture cannot be decoded.
            NoFaceError: The picture shows no face that passes the selection.
        """
        return self.crop_data(read_bytes(path), path)[0]

    def _reduction(self, face: Face, origin: Path | str) -> int:
        try:
            return reduction(self._alignment.place(face)[0])
        except ValueError as error:
            raise UnfitError(origin, Reason.NO_FACE, f"no face found ({error})") from error


def _require_inside(given: Sequence[Face], shape: tuple[int, int], origin: Path | str) -> Sequence[Face]:
    """Checks that given faces are in the picture. Single points of a face that is cut off may lie beyond its edge."""
    height, width = shape
    for face in given:
        x, y = face.center if face.landmarks is None else face.landmarks.mean(axis=0)
        if not (0 <= x <= width and 0 <= y <= height):
            text = f"the landmarks are outside the picture of {width} x {height} pixels"
            raise UnfitError(origin, Reason.BAD_LANDMARKS, text, len(given))
    return given


def _fill_unknown(fingerprint: Fingerprint) -> Fingerprint:
    if fingerprint.has_known_detector:
        return fingerprint
    usual = default_fingerprint(fingerprint.size)
    if fingerprint.detector == LANDMARKS:
        return replace(fingerprint, detector=usual.detector, detector_digest=usual.detector_digest)
    if fingerprint.template != usual.template:
        raise ModelError(
            "this encoder was trained on crops made elsewhere, so photographs cannot be cropped for it; give it crops "
            "of the same kind, through faceclr prepare --detector none"
        )
    return replace(usual, channels=fingerprint.channels, normalization=fingerprint.normalization)


def _alignment(fingerprint: Fingerprint) -> Alignment:
    try:
        alignment = Alignment.named(fingerprint.template, fingerprint.padding, fingerprint.size)
    except ValueError:
        raise _unsupported("template", fingerprint.template, "arcface, eyes and box") from None
    if fingerprint.interpolation != INTERPOLATION:
        raise _unsupported("interpolation", fingerprint.interpolation, INTERPOLATION)
    return alignment


def _detector(fingerprint: Fingerprint, min_score: float | None) -> Detector:
    make = DETECTORS.get(fingerprint.detector.split(" ")[0])
    if make is None:
        raise _unsupported("detector", fingerprint.detector, ", ".join(DETECTORS))
    detector = make(min_score)
    if detector.name != fingerprint.detector:
        raise _unsupported("detector", fingerprint.detector, detector.name)
    if detector.digest != fingerprint.detector_digest:
        raise _unsupported("detector digest", fingerprint.detector_digest, detector.digest)
    return detector


def _unsupported(field: str, asked: str, here: str) -> ModelError:
    return ModelError(
        f"this encoder needs faces made with {field} {asked!r}, but this version of faceclr uses {here}; "
        "use another encoder or another version"
    )
