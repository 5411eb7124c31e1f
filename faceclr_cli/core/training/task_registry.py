"""What is learned. Each task is one module that owns the encoder, its head and its loss.

So DDP wraps all that learns, and the loop knows none of them. A task also says which pictures make the
batches of an epoch, since that depends on what its loss needs, and how many views of each picture it sees.
"""

from __future__ import annotations

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.datasets.joined_faces import JoinedFaces
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.training.center_task import CenterTask
from faceclr_cli.core.training.contrastive_task import MoCoTask, SimCLRTask
from faceclr_cli.core.training.resolved_options import COMMANDS
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.triplet_task import BatchTripletTask, ListedTripletTask
from faceclr_cli.core.views.augmentation import SimCLRViews


def build_task(config: TrainConfig, encoder: EncoderNetwork, faces: JoinedFaces) -> TaskModule:
    """The task that a config asks for.

    Args:
        config: Of one of the three trainers.
        encoder: What is to be trained; its architecture must be the config's.
        faces: What it is to be trained on.

    Raises:
        DataError: The task needs people, and the pictures don't show enough of them.
    """
    if isinstance(config, PretrainConfig):
        method = MoCoTask if config.method == "moco" else SimCLRTask
        return method(config, encoder, faces.sources)
    if not (faces.labels >= 0).any():
        command = COMMANDS[type(config)]
        raise DataError(f"{command} needs to know who is who, and no face here has a name; pretrain needs no names")
    size = encoder.architecture.image_size
    match config:
        case TripletConfig(mining="semi-hard" | "batch-hard" | "batch-all" as mining):
            return BatchTripletTask(config, encoder, faces, _light(size), mining)
        case TripletConfig():
            return ListedTripletTask(config, encoder, faces, _light(size))
        case CenterConfig():
            return CenterTask(config, encoder, faces, _varied(size))
    raise TypeError(f"{type(config).__name__} is no config of a trainer")


def _light(size: int) -> SimCLRViews:
    """Mirroring, a slight crop, other light: the margin of a triplet is small beside what stronger views change."""
    return SimCLRViews(size=size, crop_scale=0.9, jitter=0.2, hue=0.02, gray=0.0, blur=0.0, rotate=0.0)


def _varied(size: int) -> SimCLRViews:
    """A classifier soon knows some hundred people by heart, and less soon where pictures are others each time.

    What is erased of a face also keeps it from going by one feature alone.
    """
    return SimCLRViews(size=size, crop_scale=0.8, jitter=0.3, hue=0.02, gray=0.1, blur=0.1, rotate=5.0, erase=0.5)
