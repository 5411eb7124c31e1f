"""Search for the weights of a network in the content of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from faceclr_cli.core.encoders.checkpoints.inert_pickle import GlobalName, InertObject
from faceclr_cli.core.encoders.checkpoints.torch_file import StoredTensor, read_torch_file
from faceclr_cli.core.errors import ModelError

Weights = dict[str, Tensor]

# Prefixes that wrappers add to the names of a network: DataParallel, Lightning, torch.compile and common classes.
WRAPPERS = frozenset(
    {
        "_orig_mod", "backbone", "base_model", "embedder", "embedding_net", "encoder", "encoder_q",
        "face_net", "feature", "feature_extractor", "fnet", "model", "module", "net", "network",
        "student", "trunk",
    }
)  # fmt: skip
_NOT_THE_NETWORK = re.compile(r"optim|sched|scaler|softmax_fc|ema_|loss|callback", re.IGNORECASE)
_DEPTH = 4

# Layers that only training needs: classifiers over people, margins, and projection heads of contrastive learning.
_TRAINING_HEAD = re.compile(
    r"(module\.)?("
    r"(weight|kernel|weight_mom)"  # The classifier of PartialFC, and of margin losses that are saved alone.
    r"|(head|heads|loss|loss_fn|loss_func|criterion|classifier|classification|logits|margin|arcface|cosface|metric|"
    r"metric_fc|product|partial_fc|module_partial_fc|softmax_fc|projection_head|projector|prediction_head)(\..+)?"
    r")"
)


def read_weights(path: Path) -> list[Weights]:
    """Returns the sets of named tensors in a checkpoint, the largest first.

    Args:
        path: A file of safetensors or of `torch.save`: a state dict, a dictionary that holds one, or a whole module.

    Raises:
        ModelError: The file is missing, damaged or refused, or holds no named tensors.
    """
    if path.suffix == ".safetensors":
        try:
            return [load_file(path)]
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: not a safetensors file, or damaged ({error})") from error
    found = [each for each in _named_tensors(read_torch_file(path), _DEPTH) if each]
    if not found:
        raise ModelError(f"{path}: holds no state dict, so the weights of a network cannot be found in it")
    largest = max(len(each) for each in found)
    try:
        return [
            {name: _tensor(value) for name, value in each.items()}
            for each in sorted(found, key=len, reverse=True)
            if len(each) * 2 > largest
        ]
    except ValueError as error:
        raise ModelError(f"{path}: damaged ({error})") from error


def unwrap(weights: Weights) -> Iterator[tuple[Weights, Weights]]:
    """Yields the unchanged weights, then those below each prefix of a wrapper, each with the omitted weights.

    Args:
        weights: Tensors by name, such as `model.conv1.weight`.
    """
    waiting: list[tuple[Weights, Weights]] = [(weights, {})]
    for _ in range(_DEPTH):
        further = []
        for inner, outer in waiting:
            yield inner, outer
            for prefix in sorted({name.split(".")[0] for name in inner} & WRAPPERS):
                below = {
                    name.removeprefix(f"{prefix}."): inner[name] for name in inner if name.startswith(f"{prefix}.")
                }
                beside = {name: value for name, value in inner.items() if not name.startswith(f"{prefix}.")}
                if below:
                    further.append((below, {**outer, **beside}))
        waiting = further


def is_training_head(name: str) -> bool:
    """Returns True for the name of a tensor that only training needs, such as the classifier over people."""
    return _TRAINING_HEAD.fullmatch(name) is not None


def _named_tensors(content: Any, depth: int) -> Iterator[dict[str, StoredTensor | InertObject]]:
    """Yields the tensors of each dictionary and module, by name."""
    if isinstance(content, InertObject):
        if isinstance(content.state, dict) and "_modules" in content.state:
            yield dict(_module_tensors(content, ""))
            return
        content = content.mapping or content.state
    if not isinstance(content, dict) or depth == 0:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and _is_tensor(value)}
    if len(tensors) * 2 > len(content):
        yield tensors
    for name, value in content.items():
        if not _is_tensor(value) and not _NOT_THE_NETWORK.search(str(name)):
            yield from _named_tensors(value, depth - 1)


def _module_tensors(module: Any, prefix: str, depth: int = 64) -> Iterator[tuple[str, StoredTensor | InertObject]]:
    """Yields the parameters and buffers of a module that was saved whole."""
    state = module.state if isinstance(module, InertObject) else None
    if not isinstance(state, dict) or depth == 0:
        return
    for kind in ("_parameters", "_buffers"):
        values = state.get(kind)
        if isinstance(values, Mapping):
            yield from ((f"{prefix}{name}", value) for name, value in values.items() if _is_tensor(value))
    children = state.get("_modules")
    if isinstance(children, Mapping):
        for name, child in children.items():
            yield from _module_tensors(child, f"{prefix}{name}.", depth - 1)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, StoredTensor) or (isinstance(value, InertObject) and value.kind in _ARRAYS)


_ARRAYS = frozenset(GlobalName(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core"))


def _tensor(value: StoredTensor | InertObject) -> Tensor:
    if isinstance(value, StoredTensor):
        return value.read()
    match value.state:
        case (
            _,
            tuple(shape),
            InertObject(kind=GlobalName(module="numpy", name="dtype"), args=(str(kind), *_)),
            _,
            bytes(data),
        ):
            array = np.frombuffer(data, np.dtype(kind).newbyteorder("<"))
            if array.dtype.kind not in "fiu" or value.state[3]:
                raise ValueError(f"an array of type {kind} is not supported")
            return torch.from_numpy(array.reshape(shape).copy())
    raise ValueError("an array that is not plain")
