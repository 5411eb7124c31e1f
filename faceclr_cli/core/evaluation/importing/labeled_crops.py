"""Labeled faces for the measurements of an import: unchanged crops, or photographs cropped in several ways."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures, open_source
from faceclr_cli.core.embeddings.loaded_pictures import FailedPicture
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.calibration.face_order import FEWEST_PEOPLE, order_by_person
from faceclr_cli.core.events import Reporter, track
from faceclr_cli.core.faces.crop import default_fingerprint, fingerprint_for_foreign_crops
from faceclr_cli.core.faces.face_folder import is_face_folder, open_faces
from faceclr_cli.core.faces.fingerprint import UNKNOWN, Fingerprint
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.text import display_path

_AHEAD = 64
_SAMPLE = 16


@dataclass(kw_only=True, eq=False)
class LabeledCrops:
    """Faces of people with at least two faces, in an order in which even the first faces show many people.

    Attributes:
        photos: The pictures.
        labels: Number of the person of each picture. Shape: (pictures,).
        crops: Fingerprint of the pictures if they are crops; None for photographs.
        side: Side of the crops in pixels.
        origin: Name of the folder.
    """

    photos: list[Photo]
    labels: NDArray[np.int64]
    crops: Fingerprint | None
    side: int
    origin: str
    _cut: dict[str, dict[int, NDArray[np.uint8] | None]] = field(default_factory=lambda: defaultdict(dict))

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def is_prepared(self) -> bool:
        """True if the pictures are crops with a known fingerprint."""
        return self.crops is not None and self.crops.detector != UNKNOWN

    @property
    def people(self) -> int:
        """Number of people."""
        return len(np.unique(self.labels))

    def load(self, template: str, count: int, reporter: Reporter) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Returns the first faces.

        Args:
            template: The alignment for cropping photographs; crops are not changed.
            count: Number of pictures.
            reporter: Receives the progress.

        Returns:
            The crops, RGB, 0-255, shape (N, side, side, 3), and their places in `photos`, shape (N,). N is smaller
            than `count` if pictures show no face.

        Raises:
            ModelError: There is no such alignment.
        """
        known = self._cut[template]
        places = [place for place in range(min(count, len(self))) if place not in known]
        if places:
            places.sort(key=lambda place: self.photos[place].position)  # archives are read in their order
            listing = Listing(photos=[self.photos[place] for place in places], crops=self.crops)
            source = open_source("largest", listing, self.fingerprint(template))
            loaded = track(source.load(_AHEAD), reporter, "reading faces", total=len(places), unit="pictures")
            for place, picture in zip(places, loaded, strict=True):
                known[place] = None if isinstance(picture, FailedPicture) else picture.faces[0].crop
        found = [place for place in range(min(count, len(self))) if known[place] is not None]
        crops = [crop for place in found if (crop := known[place]) is not None]
        empty = np.empty((0, self.side, self.side, 3), np.uint8)
        return (np.stack(crops) if crops else empty), np.array(found, np.int64)

    def fingerprint(self, template: str) -> Fingerprint:
        """Returns the fingerprint of the crops with an alignment; that of prepared faces where it is known."""
        if self.crops is not None and self.is_prepared:
            return self.crops
        return replace(default_fingerprint(self.side), template=template)


def open_labeled_crops(
    folder: Path, side: int, template: str | None, seed: int, origin: str, reporter: Reporter
) -> LabeledCrops:
    """Lists labeled faces: prepared ones, pictures that all have the size of the network's input, or photographs.

    Args:
        folder: The folder or archive.
        side: Side of the network's input in pixels.
        template: Alignment of the crops, if the user states it.
        seed: Seed of the order of people and faces.
        origin: Name of the network, for errors.
        reporter: Receives notices about the folder.

    Raises:
        DataError: The folder cannot be read, or has too few people with two faces.
        ConfigError: Prepared faces do not have the size of the input or the stated alignment.
    """
    name = display_path(folder)
    if not folder.exists():
        raise DataError(f"{name}: no such folder")
    if is_face_folder(folder):
        made = open_faces(folder).fingerprint
        if made.size != side:
            raise ConfigError(
                f"{name}: has faces of {made.size} pixels, but {origin} takes {side}; prepare --size {side}"
            )
        if template is not None and made.template not in (template, UNKNOWN):
            raise ConfigError(f"--template {template}: {name} has faces prepared with {made.template}; omit the option")
        wanted = made
    else:
        wanted = default_fingerprint(side)
    listing = list_pictures(EmbedConfig(faces=folder), folder, wanted, reporter)
    photos, labels = order_by_person(list(listing.photos), seed)
    if len(np.unique(labels)) < FEWEST_PEOPLE:
        raise DataError(
            f"{name}: has {len(np.unique(labels))} people with two pictures; measuring needs {FEWEST_PEOPLE} or more"
        )
    crops = listing.crops
    if crops is None and _are_crops(photos[:_SAMPLE], side):
        crops = fingerprint_for_foreign_crops(template or "arcface", side)
    return LabeledCrops(
        photos=photos, labels=labels, crops=crops, side=side, origin=display_path(folder.resolve().name)
    )


def _are_crops(photos: list[Photo], side: int) -> bool:
    """Returns True if all pictures are squares of the size of the network's input."""
    probe = Listing(photos=photos, crops=fingerprint_for_foreign_crops("arcface", side))
    return not any(
        isinstance(picture, FailedPicture)
        for picture in open_source("largest", probe, default_fingerprint(side)).load(_SAMPLE)
    )
