"""The choice of the training task that a config asks for."""

from __future__ import annotations

from faceclr_cli.core.configs.center import CenterConfig
from faceclr_cli.core.configs.distill import DistillConfig
from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.configs.train import TrainConfig
from faceclr_cli.core.configs.triplet import TripletConfig
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.errors import DataError
from faceclr_cli.core.training.center_task import CenterTask
from faceclr_cli.core.training.contrastive_task import MoCoTask, SimCLRTask
from faceclr_cli.core.training.distill_task import DistillTask
from faceclr_cli.core.training.histogram_task import HistogramTask
from faceclr_cli.core.training.resolved_options import COMMANDS
from faceclr_cli.core.training.rounds_task import RoundsTask
from faceclr_cli.core.training.task import TaskModule
from faceclr_cli.core.training.training_sets import TrainingSets
from faceclr_cli.core.training.triplet_task import BatchTripletTask, ListedTripletTask
from faceclr_cli.core.views.augmentation import SimCLRViews, Views
from faceclr_cli.core.views.camera import CameraViews


def build_task(config: TrainConfig, encoder: EncoderNetwork, sets: TrainingSets) -> TaskModule:
    """Builds the task that a config asks for.

    Args:
        config: The config of a trainer.
        encoder: The network to train; its architecture must match the config.
        sets: The data sets of the run.

    Raises:
        DataError: The task needs labels, and the faces have none or too few.
    """
    faces = sets.train
    if isinstance(config, DistillConfig):
        if sets.teacher is None:
            raise ValueError("a distillation needs the embeddings of its teacher")
        size = encoder.architecture.image_size
        views: Views = _student_views(size)
        if config.degrade:
            views = CameraViews(views=views, size=size, share=config.degrade)
        return DistillTask(config, encoder, views, sets.teacher)
    if isinstance(config, PretrainConfig) and config.is_computed:
        return HistogramTask(config, encoder, len(faces))
    if isinstance(config, PretrainConfig) and sets.photographs is not None and sets.tracks is not None:
        return RoundsTask(config, encoder, faces, sets.photographs, sets.tracks)
    if isinstance(config, PretrainConfig):
        method = MoCoTask if config.method == "moco" else SimCLRTask
        return method(config, encoder, faces.sources)
    if not (faces.labels >= 0).any():
        command = COMMANDS[type(config)]
        raise DataError(f"{command} needs labels, but none of the faces has a name; pretrain works without labels")
    size = encoder.architecture.image_size
    match config:
        case TripletConfig(mining="semi-hard" | "batch-hard" | "batch-all" as mining):
            return BatchTripletTask(config, encoder, faces, _mild_views(size), mining)
        case TripletConfig():
            return ListedTripletTask(config, encoder, faces, _mild_views(size))
        case CenterConfig():
            return CenterTask(config, encoder, faces, _strong_views(size))
    raise TypeError(f"{type(config).__name__} is not the config of a trainer")


def _mild_views(size: int) -> SimCLRViews:
    """Flip, slight crops, mild color jitter. Stronger views change distances by more than the margin of a triplet."""
    return SimCLRViews(size=size, crop_scale=0.9, jitter=0.2, hue=0.02, gray=0.0, blur=0.0, rotate=0.0)


def _student_views(size: int) -> SimCLRViews:
    """Mild views that preserve most of what the teacher saw; a student learns more slowly from strong views."""
    return SimCLRViews(size=size, crop_scale=0.9, jitter=0.2, hue=0.02, gray=0.0, blur=0.0, rotate=5.0)


def _strong_views(size: int) -> SimCLRViews:
    """Strong views, because a classifier of a few hundred people overfits quickly.

    Random erasing also keeps the classifier from relying on a single feature of the face.
    """
    return SimCLRViews(size=size, crop_scale=0.8, jitter=0.3, hue=0.02, gray=0.1, blur=0.1, rotate=5.0, erase=0.5)
