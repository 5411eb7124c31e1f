"""The encoder in `--init`: its description, and the record of it in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faceclr_cli.core.configs.train import DROPOUT, TrainConfig
from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.description import (
    Ancestor,
    Card,
    Description,
    read_description,
)
from faceclr_cli.core.encoders.sface_description import describe_sface
from faceclr_cli.core.errors import ModelError
from faceclr_cli.core.faces.crop import fingerprint_for_foreign_crops

SFACE = "sface"

LR_FACTOR = 0.1
"""Factor of the default learning rates for an encoder that recognizes people. At the rates of training from scratch, it
would soon get worse on all other people. docs/benchmarks.md has figures for this and for `FINE_TUNING`."""

RESIZED_LR_FACTOR = 0.5
"""The same at another input size than its own, at which it has to learn again to recognize people. Measured by
distillation of `sface` at 48 pixels."""

FROM_SCRATCH: dict[str, float] = {"dropout": DROPOUT, "retain": 0.0}
FINE_TUNING: dict[str, float] = {"dropout": 0.0, "retain": 10.0}
"""Default values of options of `train-center` for encoders that recognize people."""


@dataclass(frozen=True, kw_only=True)
class InitialEncoder:
    """The encoder that a run starts from, as the run folder records it. With a checkpoint, a run resumes without it.

    The names of people are only in the encoder of the run, which `forget` reads.

    Attributes:
        digest: SHA-256 of its weights.
        architecture: The network of the run, which may have another input size or embedding layer than the encoder.
        source: The origin of the encoder, if another project trained it.
        lr_factor: Factor of the default learning rate.
        is_resized: True if the run changes its input size.
        has_new_head: True if the run changes the length of its embeddings, for which it needs a new embedding layer.
        ancestors: The encoder and its ancestors, the oldest first.
    """

    digest: str
    architecture: Architecture
    source: Mapping[str, Any] | None
    lr_factor: float
    is_resized: bool
    has_new_head: bool
    ancestors: tuple[Ancestor, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return {
            "digest": self.digest,
            "architecture": self.architecture.to_json(),
            "source": None if self.source is None else dict(self.source),
            "lr_factor": self.lr_factor,
            "is_resized": self.is_resized,
            "has_new_head": self.has_new_head,
        }

    @property
    def knows_people(self) -> bool:
        """True if the encoder recognizes people in pictures of the run's input size.

        That is not so if only `pretrain` trained it, from scratch, or if it was trained at another size.
        """
        return not self.is_resized and self.was_trained_on_people

    @property
    def was_trained_on_people(self) -> bool:
        """True unless only `pretrain` trained the encoder, from scratch."""
        return _was_trained_on_people(self.source, self.ancestors)

    @classmethod
    def from_json(cls, content: Mapping[str, Any], run: Path) -> InitialEncoder:
        """Reads the result of `to_json`, and the ancestors from the encoder of the run.

        Raises:
            KeyError, TypeError, ValueError: A field is missing or of the wrong type.
        """
        return cls(
            digest=str(content["digest"]),
            architecture=Architecture.from_json(content["architecture"]),
            source=None if content["source"] is None else dict(content["source"]),
            lr_factor=float(content["lr_factor"]),
            is_resized=bool(content.get("is_resized", False)),
            has_new_head=bool(content.get("has_new_head", False)),
            ancestors=_read_ancestors(run) or (Ancestor("unknown", str(content["digest"]), {}),),
        )


def _read_ancestors(run: Path) -> tuple[Ancestor, ...]:
    """Returns the ancestors of the encoder of a run, which is written before the first step; () if it is missing."""
    try:
        return read_description(run).card.ancestors
    except ModelError:
        return ()


def _was_trained_on_people(source: Mapping[str, Any] | None, ancestors: Sequence[Ancestor]) -> bool:
    return source is not None or any(each.command != "pretrain" for each in ancestors)


def _lineage(origin: Description) -> tuple[Ancestor, ...]:
    """Returns an encoder and its ancestors, the oldest first."""
    return (*origin.card.ancestors, Ancestor(origin.card.command, origin.digest, origin.card.people))


def make_init_absolute(init: str) -> str:
    """Returns `init` with an absolute path, if it is a path."""
    if init == SFACE:
        return init
    # Imports the client of the hub, which other runs do not need.
    from faceclr_cli.core.encoders.hub_files import is_hub_source

    return init if is_hub_source(init) else str(Path(init).resolve())


def describe_initial_encoder(init: str) -> tuple[Description, tuple[str, ...]]:
    """Describes the encoder in `init`; also returns notices for the user about it.

    Raises:
        ModelError: It is missing, damaged or cannot be trained, or does not state which pixels it takes.
    """
    if init == SFACE:
        return describe_sface(), ()
    from faceclr_cli.core.encoders.checkpoints.network_source import find_network_source, is_foreign_source

    if not is_foreign_source(init):
        return read_description(Path(init)), ()
    source = find_network_source(init)
    foreign = source.load()
    if foreign.normalization is None:
        raise ModelError(
            f"--init {source.name}: does not state which pixels it takes\n"
            f"Measure them: faceclr import {source.name} --faces DIR -o ENCODER, then --init ENCODER"
        )
    architecture = foreign.network.architecture
    record = source.to_json()
    fingerprint = replace(
        fingerprint_for_foreign_crops(foreign.template, architecture.image_size),
        channels=architecture.normalization.channels,
        normalization=architecture.normalization.text,
    )
    evidence = {"color": "file", "scale": "file", "template": "file" if foreign.template else "faces"}
    described = Description(
        folder=source.path,
        architecture=architecture,
        fingerprint=fingerprint,
        calibration=None,
        card=Card(command="import", config={}, data=source.file, pictures=0, people={}),
        digest=record["sha256"],
        content={"source": record | {"evidence": evidence}},
    )
    return described, tuple(f"{source.name}: {text}" for text in foreign.notices)


def is_label_free(origin: Description) -> bool:
    """True if only `pretrain` trained an encoder, from scratch."""
    return not _was_trained_on_people(origin.content.get("source"), _lineage(origin))


def record_initial_encoder(origin: Description, config: TrainConfig) -> InitialEncoder:
    """Returns the record of the encoder that a run starts from.

    Args:
        origin: Its description.
        config: The resolved options.
    """
    architecture = origin.architecture.resized(config.input_size, config.embedding_dim)
    initial = InitialEncoder(
        digest=origin.digest,
        architecture=architecture,
        source=origin.content.get("source"),
        lr_factor=1.0,
        is_resized=architecture.image_size != origin.architecture.image_size,
        has_new_head=architecture.embedding_dim != origin.architecture.embedding_dim,
        ancestors=_lineage(origin),
    )
    if not initial.was_trained_on_people:
        return initial  # The full rate was the best.
    return replace(initial, lr_factor=RESIZED_LR_FACTOR if initial.is_resized else LR_FACTOR)
