"""The encoders that a benchmark compares, and their results so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.configs.benchmark import BenchmarkConfig
from faceclr_cli.core.embeddings.mirrored_crops import require_unnormalized
from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.encoders.description import Description
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError
from faceclr_cli.core.evaluation.benchmark.benchmark_result import BenchmarkCell, BenchmarkedEncoder
from faceclr_cli.core.evaluation.benchmark.recipe_groups import (
    count_parameters,
    describe_run,
    expand_models,
    training_seconds,
)
from faceclr_cli.core.evaluation.benchmark.training_overlap import TrainingFaces
from faceclr_cli.core.text import display_path


@dataclass(kw_only=True, eq=False)
class Contestant:
    """An encoder and its results in this run.

    `encoder` is None if a store contains its embeddings. `right_on` is the mask of correct verdicts on each set, and
    `pairs_of` the number of genuine and impostor pairs of each set of templates.
    """

    name: str
    model: str
    digest: str
    dim: int
    flip: str
    encoder: Encoder | None
    pattern: str | None = None
    about: Description | None = None
    embedded: int = 0
    seconds: float = 0.0
    cells: list[BenchmarkCell] = field(default_factory=list)
    training: TrainingFaces | None = None
    right_on: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    pairs_of: dict[str, tuple[int, int]] = field(default_factory=dict)


def load_contestants(config: BenchmarkConfig, *, has_pictures: bool) -> list[Contestant]:
    """Loads the encoders of `--model`.

    Args:
        config: The options.
        has_pictures: A set has pictures to embed; stores already contain the embeddings.

    Raises:
        ConfigError: There is nothing to embed, but options of encoders are given.
        ModelError: An encoder does not exist, is damaged, or cannot be used with `--flip`.
    """
    if not has_pictures:
        if config.model or config.flip != "none":
            raise ConfigError(
                f"--{'model' if config.model else 'flip'}: cannot be combined with a store, which contains embeddings"
            )
        return []
    # Load all of them before the first picture, so that a mistyped name is reported immediately, not after hours.
    models = expand_models(config.models)
    encoders = [load_encoder(model, config.device, unnormalized=config.flip == "sum") for model, _ in models]
    if config.flip == "sum":
        for encoder in encoders:
            require_unnormalized(encoder)
    names = Counter(encoder.name for encoder in encoders)
    return [
        Contestant(
            name=encoder.name if names[encoder.name] == 1 else display_path(model),
            model=model,
            pattern=pattern,
            about=describe_run(model),
            digest=encoder.digest,
            dim=encoder.dim,
            flip=config.flip,
            encoder=encoder,
        )
        for encoder, (model, pattern) in zip(encoders, models, strict=True)
    ]


def describe_contestant(each: Contestant) -> BenchmarkedEncoder:
    """Returns the row of an encoder in the result."""
    return BenchmarkedEncoder(
        name=each.name,
        model=each.model,
        digest=each.digest,
        dim=each.dim,
        parameters=None if each.about is None else count_parameters(each.about),
        training_seconds=None if each.about is None else training_seconds(each.about),
        flip=each.flip,
        embedded=each.embedded,
        faces_per_second=round(each.embedded / each.seconds, 1) if each.embedded else None,
    )
