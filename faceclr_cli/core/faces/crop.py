"""The one way from a photograph to a crop, for `prepare` and for whatever aligns on the fly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.errors import ModelError, NoFaceError
from faceclr_cli.core.faces.align import INTERPOLATION, TEMPLATE, align
from faceclr_cli.core.faces.decode import read_photo
from faceclr_cli.core.faces.detect import Face, YuNet, largest
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.reasons import shown
from faceclr_cli.core.faces.weights import YUNET


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedFace:
    """A face cut out of a photograph.

    Attributes:
        crop: RGB, 0-255. Shape: (size, size, 3).
        face: Where it was in the photograph.
        faces_found: How many faces the photograph shows.
    """

    crop: NDArray[np.uint8]
    face: Face
    faces_found: int


def default_fingerprint(size: int = 112) -> Fingerprint:
    """The preprocessing of crops that this version makes."""
    return Fingerprint(
        detector=YuNet.name,
        detector_digest=YUNET.short_digest,
        template=TEMPLATE,
        size=size,
        interpolation=INTERPOLATION,
    )


class PhotoCropper:
    """Makes the crops that a fingerprint describes. Its channel order and normalisation don't matter here.

    Args:
        fingerprint: That of an encoder or of prepared faces.
        min_score: Faces that the detector is less sure of are not counted.

    Raises:
        ModelError: The fingerprint asks for a detector, template or interpolation that is not here, or
            the detector's weights are not.
    """

    def __init__(self, fingerprint: Fingerprint, *, min_score: float = 0.6) -> None:
        offered = default_fingerprint(fingerprint.size)
        for name in ("detector", "detector_digest", "template", "interpolation"):
            asked, here = getattr(fingerprint, name), getattr(offered, name)
            if asked != here:
                raise ModelError(
                    f"this encoder needs faces made with {name.replace('_', ' ')} {asked!r}, "
                    f"and this faceclr makes them with {here!r}; use another encoder or release"
                )
        self.size = fingerprint.size
        self._detector = YuNet(min_score)

    def crop(self, image: NDArray[np.uint8], origin: Path | str = "picture") -> AlignedFace:
        """Finds the largest face and aligns it.

        Args:
            image: RGB, 0-255. Shape: (height, width, 3).
            origin: What to call the picture in errors.

        Raises:
            NoFaceError: There is none.
        """
        faces = self._detector.detect(image)
        if not faces:
            raise NoFaceError(f"{shown(origin)}: no face found")
        face = largest(faces)
        return AlignedFace(crop=align(image, face.landmarks, self.size), face=face, faces_found=len(faces))

    def crop_file(self, path: Path) -> AlignedFace:
        """Decodes a photograph, finds its largest face and aligns it.

        Raises:
            DataError: The file is missing or cannot be read.
            UnreadableImageError: It is not a picture that can be decoded.
            NoFaceError: It shows no face.
        """
        return self.crop(read_photo(path), path)
