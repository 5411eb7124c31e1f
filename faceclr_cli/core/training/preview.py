"""The preview of an augmentation: a picture of random views."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.events import Reporter
from faceclr_cli.core.plots.view_sheet import draw_views
from faceclr_cli.core.sources.output_folders import require_outside
from faceclr_cli.core.training.contrastive_task import build_views
from faceclr_cli.core.training.resolved_options import resolve_options
from faceclr_cli.core.training.training_sets import open_face_folders

_PICTURES, _VIEWS = 8, 8


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The result of a preview.

    Attributes:
        picture: Path of the picture.
        pictures: Number of faces in it.
        views: Number of views of each face.
        augment: Name of the augmentation.
    """

    picture: Path
    pictures: int
    views: int
    augment: str

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {**asdict(self), "picture": str(self.picture)}


def show_views(config: PretrainConfig, picture: Path, reporter: Reporter) -> Preview:
    """Writes a picture with random views of some faces, without training.

    Args:
        config: The augmentation, the faces and the seed.
        picture: Path of the picture to write.
        reporter: Receives progress.

    Raises:
        ConfigError: No faces were specified, or the format of the picture is not supported.
        DataError: The faces are missing or damaged.
    """
    resolved = resolve_options(config, "pretrain")
    for folder in resolved.data:
        require_outside("--show-views", picture, folder)
    faces = open_face_folders(resolved.data, reporter)
    chosen = np.random.default_rng(config.seed).permutation(len(faces))[:_PICTURES]
    crops = faces.crops(chosen)
    augment = build_views(config, resolved.config.input_size)
    name = "turned heads" if config.is_computed else config.augment
    chance = torch.rand(len(chosen), _VIEWS, augment.draws, generator=torch.Generator().manual_seed(config.seed))
    views = augment(torch.from_numpy(crops), chance).add_(1).mul_(127.5).round_().clamp_(0, 255).byte().contiguous()
    views = views.view(_VIEWS, len(chosen), *views.shape[1:]).permute(1, 0, 3, 4, 2)
    size = resolved.config.input_size
    draw_views(
        crops,
        np.ascontiguousarray(views.numpy()),
        picture,
        title=f"Random views · {name}",
        subtitle=f"Each face, and {_VIEWS} views of it as the network sees them: {size} x {size} pixels",
    )
    return Preview(picture=picture, pictures=len(chosen), views=_VIEWS, augment=name)
