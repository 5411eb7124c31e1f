"""Pictures that are named in lists: files below a folder, or crops of a container."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.datasets.face_sets import open_face_set
from faceclr_cli.core.faces.face_folder import is_face_folder, open_faces
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.sources.containers import is_container
from faceclr_cli.core.sources.layouts import Photo
from faceclr_cli.core.sources.picture_names import FolderPictures, PictureNames


class NamedPictures:
    """The pictures below a folder, or the crops of a container.

    Attributes:
        names: Finds the actual names of pictures.
        crops: Fingerprint of prepared faces; None for photographs.

    Args:
        root: The folder or the container.

    Raises:
        DataError: The container is damaged, or holds photographs.
        ConfigError: The crops of the container are not aligned like ArcFace crops.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._places: dict[str, int] | None = None
        self.names: PictureNames | FolderPictures
        self.crops: Fingerprint | None
        if is_container(root):
            faces = open_face_set(root)
            self._places = {path: place for place, path in enumerate(faces.paths)}
            self.names, self.crops = PictureNames(self._places), faces.fingerprint
        else:
            self.names = FolderPictures(root)
            self.crops = open_faces(root).fingerprint if is_face_folder(root) else None

    def __contains__(self, name: str) -> bool:
        """Returns True if there is a picture of this name."""
        return (self._root / name).exists() if self._places is None else name in self._places

    def photo(self, name: str, identity: str | None = None) -> Photo:
        """Describes a picture; see `Photo`."""
        if self._places is None:
            return Photo(path=self._root / name, identity=identity, name=name)
        place = self._places.get(name, 0)
        return Photo(path=self._root, identity=identity, name=name, member=name, position=place)
