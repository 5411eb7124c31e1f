"""The teachers of a distillation, and their embeddings of the faces of a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from faceclr_cli.core.configs.embed import EmbedConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces, folder_prefixes
from faceclr_cli.core.datasets.streamed_crops import MOST_DAMAGED
from faceclr_cli.core.embeddings.crop_source import Listing, list_pictures
from faceclr_cli.core.embeddings.embedding_cache import TEACHERS, embed_cached
from faceclr_cli.core.embeddings.embedding_rows import Rows
from faceclr_cli.core.embeddings.store_parts import Totals
from faceclr_cli.core.embeddings.transient_rows import embed_listing
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.description import Teacher
from faceclr_cli.core.encoders.encoder_folder import TorchEncoder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError, LockedError
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.text import display_path
from faceclr_cli.core.wording import count

_Embeddings = dict[str, NDArray[np.float32]]
_POLL = 0.5  # Seconds between attempts to use a cache that another run is writing.


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherEmbeddings:
    """The teachers' embeddings of the faces of a run; those of several teachers are concatenated.

    Attributes:
        train: Embeddings of the training faces, L2-normalized. Shape: (N, D).
        held_out: Embeddings of the held-out faces, L2-normalized; None without such faces. Shape: (M, D).
        teachers: Name and digest of each teacher.
    """

    train: NDArray[np.float32]
    held_out: NDArray[np.float32] | None
    teachers: tuple[Teacher, ...]


class ViewTeacher:
    """A teacher of augmented views, which stay on the device if PyTorch runs the teacher there.

    Args:
        model: The teacher, as for `load_encoder`.
        device: The device of the views.
    """

    def __init__(self, model: str, device: torch.device) -> None:
        self._encoder = load_encoder(model, device.type)
        inner = self._encoder.encoder
        self._network: EncoderNetwork | None = None
        if device.type != "cpu" and isinstance(inner, TorchEncoder):
            # Each of several processes has its own GPU.
            self._network = inner.network.to(device).requires_grad_(False)

    @torch.no_grad()
    def embed(self, views: Tensor) -> Tensor:
        """Embeds views as if they were stored as 8-bit pictures.

        Args:
            views: Values in [-1, 1]. Shape: (B, 3, S, S).

        Returns:
            L2-normalized, float32. Shape: (B, D).
        """
        side = self._encoder.fingerprint.size
        sized = views.float()
        if side != views.shape[-1]:
            sized = F.interpolate(sized, (side, side), mode="bilinear", antialias=True, align_corners=False)
        pixels = ((sized + 1) * 127.5).round().clamp(0, 255)
        if self._network is not None:
            return F.normalize(self._network(pixels / 127.5 - 1).float(), dim=1)
        crops = pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return torch.from_numpy(self._encoder.embed(np.ascontiguousarray(crops))).to(views.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class TeacherRows:
    """The embeddings of all readable faces in the folders of a run by each teacher, by path.

    Attributes:
        data: Embeddings of the faces in the training folders, by teacher.
        val: Embeddings of the faces in the validation folders, by teacher; empty without such folders.
        teachers: Name and digest of each teacher.
        reasons: Why faces could not be read.
    """

    data: tuple[_Embeddings, ...]
    val: tuple[_Embeddings, ...]
    teachers: tuple[Teacher, ...]
    reasons: tuple[str, ...] = ()

    def leave_out_damaged(self, faces: JoinedFaces, reporter: Reporter, *, is_val: bool = False) -> JoinedFaces:
        """Returns the faces that every teacher could read: all of them, unless faces are streamed.

        Args:
            faces: All faces of the training folders, or of the validation folders.
            reporter: Receives the number of damaged faces.
            is_val: True for the validation folders.

        Raises:
            DataError: Too many faces are damaged.
        """
        every = self.val if is_val else self.data
        missing = [row for row, path in enumerate(faces.paths) if not all(path in rows for rows in every)]
        if not missing:
            return faces
        first = self.reasons[0] if self.reasons else display_path(faces.paths[missing[0]])
        if len(missing) > max(1, MOST_DAMAGED * len(faces)):
            raise DataError(
                f"the teacher cannot read {len(missing):,} of {len(faces):,} faces, more than 5%; the first: {first}"
            )
        text = f"{count(len(missing), 'damaged face')} left out, which the teacher cannot read; the first: {first}"
        reporter.report(Notice(text=text, level="warning"))
        return faces.take(np.delete(np.arange(len(faces)), missing))

    def of(self, train: JoinedFaces, held_out: JoinedFaces | None) -> TeacherEmbeddings:
        """Returns the embeddings of training faces and held-out faces. Every teacher must have read all of them."""
        held = None if held_out is None else join_embeddings([_take(rows, held_out) for rows in self.val or self.data])
        trained = join_embeddings([_take(rows, train) for rows in self.data])
        return TeacherEmbeddings(train=trained, held_out=held, teachers=self.teachers)


def embed_with_teachers(
    models: Sequence[str], folders: Sequence[Path], val: Sequence[Path], reporter: Reporter
) -> TeacherRows:
    """Embeds the faces of a run with each teacher, as the mean of a face and its mirror image.

    The embeddings are kept in the user's cache by the content of the pictures, so that later runs reuse them.

    Args:
        models: The teachers, as for `load_encoder`.
        folders: The folders of the training faces.
        val: The folders of the validation faces; empty if some of `folders` are held out.
        reporter: Receives the progress.

    Raises:
        ModelError: There is no such teacher.
        DataError: The faces cannot be read, or were not prepared as the teacher requires.
    """
    trained, held, teachers, reasons = [], [], [], list[str]()
    for model in models:
        encoder = load_encoder(model)
        trained.append(_embed_folders(folders, model, encoder, reasons, reporter))
        if val:
            held.append(_embed_folders(val, model, encoder, reasons, reporter))
        teachers.append(Teacher(encoder.name, encoder.digest))
    return TeacherRows(data=tuple(trained), val=tuple(held), teachers=tuple(teachers), reasons=tuple(reasons))


def join_embeddings(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenates the embeddings of several teachers, so that cosines are the means of the teachers' cosines.

    Args:
        parts: L2-normalized embeddings of each teacher. Shape of each: (N, dim).

    Returns:
        L2-normalized. Shape: (N, sum of the dims).
    """
    return np.asarray(np.concatenate(parts, axis=1) / np.sqrt(len(parts)), np.float32)


def _embed_folders(
    folders: Sequence[Path], model: str, encoder: Encoder, reasons: list[str], reporter: Reporter
) -> _Embeddings:
    """Returns the embedding of each readable face by its path in the joined folders; adds to `reasons`."""
    found: _Embeddings = {}
    for prefix, folder in zip(folder_prefixes(folders), folders, strict=True):
        config = EmbedConfig(faces=folder, model=model, flip="mean")
        listing = list_pictures(config, folder, encoder.fingerprint, reporter)
        try:
            rows, totals = _embed_when_free(folder, listing, config, encoder, reporter)
            reasons += totals.failures
        except (OSError, DataError) as error:
            text = f"{display_path(folder)}: the teacher's embeddings are not kept in the cache: {error}"
            reporter.report(Notice(text=text, level="warning"))
            block = embed_listing(listing, "largest", encoder, reporter, flip="mean")
            rows = block.rows
            reasons += block.failures
        found |= {prefix + path: row for path, row in zip(rows.paths, rows.embeddings, strict=True)}
    return found


def _embed_when_free(
    folder: Path, listing: Listing, config: EmbedConfig, encoder: Encoder, reporter: Reporter
) -> tuple[Rows, Totals]:
    """Embeds faces with the cache. If another run embeds the same faces, waits for it, and uses its embeddings."""
    is_waiting = False
    while True:
        try:
            return embed_cached(TEACHERS, folder, listing, config, encoder, reporter)
        except LockedError:
            if not is_waiting:
                text = f"{display_path(folder)}: waiting for another run, whose teacher embeds the same faces"
                reporter.report(Notice(text=text))
            is_waiting = True
            time.sleep(_POLL)


def _take(rows: _Embeddings, faces: JoinedFaces) -> NDArray[np.float32]:
    return normalize_rows(np.stack([rows[path] for path in faces.paths]))
