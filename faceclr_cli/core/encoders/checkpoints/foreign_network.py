"""Encoder networks from the checkpoints of other projects."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import timm
import torch
from torch import Tensor

from faceclr_cli.core.encoders.architecture import Architecture, BackboneArgs, InputNormalization
from faceclr_cli.core.encoders.checkpoints.key_maps import Recognized, recognize
from faceclr_cli.core.encoders.checkpoints.state_dicts import Weights, is_training_head, read_weights, unwrap
from faceclr_cli.core.encoders.face_networks.face_network_registry import FACE_NETWORKS
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.encoders.nn4 import NAME as NN4
from faceclr_cli.core.errors import ConfigError, ModelError

_LISTED = 4
_COUNTER = "num_batches_tracked"
_DEFAULT_SIZE = 112
# No public network is larger; a file that claims a larger one may be an attempt to exhaust memory.
_LARGEST_DIM = 4096
_LARGEST_SIZE = 512
# Classifiers with this number of outputs count as embedding layers; all others are classifiers of people or objects.
_EMBEDDING_DIMS = frozenset({64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048})


@dataclass(frozen=True, kw_only=True)
class ForeignNetwork:
    """A network that another project trained.

    Attributes:
        network: The network with its weights, in evaluation mode. Its architecture has the pixels in `normalization`,
            if they are known.
        normalization: The pixels that the network takes, if the file or the form of the checkpoint states them.
        template: How its faces are aligned, if the form of the checkpoint states it: a template of `Alignment`.
        notices: Notices for the user, for example about a classifier that was left out.
    """

    network: EncoderNetwork
    normalization: InputNormalization | None = None
    template: str | None = None
    notices: tuple[str, ...] = ()


def load_checkpoint_network(
    path: Path, backbone: str | None, *, backbone_args: BackboneArgs = (), image_size: int | None = None
) -> ForeignNetwork:
    """Loads the network of a PyTorch checkpoint of any project. No code in the file is run.

    Networks for faces are recognized by the names of their weights, as in arcface_torch, AdaFace, facenet-pytorch,
    OpenFacePytorch, and several MobileFaceNets. Prefixes of wrappers and classifiers are left out.

    Args:
        path: A file of `torch.save` or safetensors: a state dict, or a checkpoint that holds one.
        backbone: Name of the network; None to recognize it. timm models must be named.
        backbone_args: Keyword arguments of the backbone of a timm model.
        image_size: Side of the pictures in pixels; None for the side that the weights need, or 112.

    Raises:
        ConfigError: The backbone does not exist or does not take these arguments.
        ModelError: The file is missing, damaged or refused, the network is not recognized, or weights do not fit.
    """
    if backbone is not None and backbone not in (NN4, *FACE_NETWORKS) and not timm.is_model(backbone):
        near = difflib.get_close_matches(backbone, [NN4, *FACE_NETWORKS, *timm.list_models()], n=3, cutoff=0.5)
        hint = f"; similar names: {', '.join(near)}" if near else ""
        raise ConfigError(f"--backbone {backbone}: timm has no such model{hint}")
    choices = [choice for weights in read_weights(path) for choice in unwrap(weights)]
    if backbone is None or not timm.is_model(backbone):
        for inner, outer in choices:
            found = recognize(inner)
            if found is not None:
                return _load_recognized(path, found, outer, backbone)
        if backbone is None:
            raise ModelError(
                f"{path}: the network is not recognized by the names of its weights ({_names(choices[0][0])})\n"
                f"If it is a timm model, name it: faceclr import {path} --backbone NAME -o ENCODER"
            )
        raise ModelError(
            f"{path}: not the weights of {backbone}: no known form of that network has these names "
            f"({_names(choices[0][0])})"
        )
    return _load_timm(path, choices, backbone, backbone_args, image_size)


def _load_recognized(path: Path, found: Recognized, outer: Weights, backbone: str | None) -> ForeignNetwork:
    name = found.architecture.backbone
    if name not in (NN4, *FACE_NETWORKS):
        raise ModelError(f"{path}: weights in the form of {found.source}, but with an unknown number of blocks")
    if backbone not in (None, name):
        raise ModelError(f"{path}: not the weights of {backbone} but of {name} (the form of {found.source})")
    architecture = found.architecture
    if not (0 < architecture.embedding_dim <= _LARGEST_DIM and architecture.image_size <= _LARGEST_SIZE):
        raise ModelError(
            f"{path}: not the weights of {name}: they would take pictures of {architecture.image_size} pixels and give "
            f"embeddings of {architecture.embedding_dim} numbers"
        )
    normalization = found.normalization or InputNormalization()
    network = _build(path, replace(architecture, normalization=normalization))
    left_out = fit_weights(network, {**outer, **found.weights}, found.key_map, path)
    return ForeignNetwork(
        network=network,
        normalization=found.normalization,
        template=found.template,
        notices=(f"recognized as {name} of {found.source}", *left_out),
    )


def _build(path: Path, architecture: Architecture) -> EncoderNetwork:
    try:
        return EncoderNetwork(architecture, initialize_head=False)
    except ConfigError as error:
        raise ModelError(f"{path}: not the weights of {architecture.backbone} ({error})") from error


def _load_timm(
    path: Path,
    choices: Sequence[tuple[Weights, Weights]],
    backbone: str,
    backbone_args: BackboneArgs,
    image_size: int | None,
) -> ForeignNetwork:
    settings = timm.get_pretrained_cfg(backbone)
    size = image_size or (settings.input_size[-1] if settings and settings.fixed_input_size else _DEFAULT_SIZE)
    architecture = Architecture(
        backbone=backbone, embedding_dim=1, image_size=size, pool="mean", backbone_args=backbone_args
    )
    names = {name.removeprefix("backbone.") for name in _shapes_of(architecture) if name.startswith("backbone.")}
    inner, outer = max(choices, key=lambda choice: len(names & choice[0].keys()))
    # Models that are distilled have two classifiers.
    classifier = settings.classifier if settings is not None and isinstance(settings.classifier, str) else None
    network = timm_network(architecture, inner, classifier)
    notices = fit_weights(network, {**outer, **inner}, timm_key_map(classifier), path, heads=(classifier or "",))
    if network.architecture.head == "none":
        notices = (f"the embedding is the {network.architecture.embedding_dim} pooled features of {backbone}", *notices)
    return ForeignNetwork(network=network, notices=notices)


def timm_key_map(classifier: str | None) -> Callable[[str], str]:
    """Returns the map from names of an encoder network to those of a timm model with this classifier."""

    def key(name: str) -> str:
        if name.startswith("embedding."):
            return f"{classifier}.{name.removeprefix('embedding.')}"
        return name.removeprefix("backbone.")

    return key


def timm_network(architecture: Architecture, weights: Weights, classifier: str | None) -> EncoderNetwork:
    """Builds the encoder network of a timm model. Its classifier is the embedding layer if it has as many outputs.

    Args:
        architecture: The backbone and its arguments; the head and the length of an embedding are found here.
        weights: The weights of the timm model.
        classifier: Name of the classifier in the weights.
    """
    layer = weights.get(f"{classifier}.weight")
    if layer is not None and layer.ndim == 2 and layer.shape[0] in _EMBEDDING_DIMS:
        wanted = replace(architecture, embedding_dim=layer.shape[0], head="linear")
        return EncoderNetwork(wanted, initialize_head=False)
    features = _shapes_of(architecture)["embedding.weight"][1]
    return EncoderNetwork(replace(architecture, embedding_dim=features, head="none"))


def fit_weights(
    network: EncoderNetwork,
    weights: Weights,
    key_map: Callable[[str], str],
    path: Path,
    *,
    heads: Sequence[str] = (),
) -> tuple[str, ...]:
    """Loads weights into a network, for evaluation. All must fit, except those of known classifiers.

    Args:
        network: The network.
        weights: Weights by their name in the checkpoint.
        key_map: Translates names of the network into names of the checkpoint.
        path: The checkpoint, for messages.
        heads: Further names of layers that are left out.

    Returns:
        Notices about the weights that were left out.

    Raises:
        ModelError: Weights are missing, unexpected or have the wrong shape.
    """
    own = network.state_dict()
    loaded, missing, wrong, used = {}, [], [], set()
    for name, target in own.items():
        key = key_map(name)
        used.add(key)
        value = weights.get(key)
        if value is None:
            if name.endswith(_COUNTER):
                loaded[name] = target
            else:
                missing.append(key)
        elif _plain_shape(value) != _plain_shape(target):
            wrong.append(f"{key} {list(value.shape)} instead of {list(target.shape)}")
        else:
            loaded[name] = value.reshape(target.shape).to(target.dtype)
    others = [name for name in weights if name not in used and not name.endswith(_COUNTER)]
    left_out = [name for name in others if is_training_head(name) or name.rpartition(".")[0] in heads]
    unexpected = [name for name in others if name not in left_out]
    if missing or unexpected or wrong:
        lists = (("missing", missing), ("unexpected", unexpected), ("of the wrong shape", wrong))
        found = "; ".join(f"{len(names)} {what} ({_names(names)})" for what, names in lists if names)
        raise ModelError(f"{path}: not the weights of {network.architecture.backbone}: {found}")
    if not all(bool(value.isfinite().all()) for value in loaded.values() if value.is_floating_point()):
        raise ModelError(f"{path}: some weights are not finite numbers")
    network.load_state_dict(loaded)
    network.eval()
    return (f"left out, since only training needs it: {_names(left_out)}",) if left_out else ()


def _plain_shape(value: Tensor) -> tuple[int, ...]:
    """Returns the shape without trailing axes of length 1: a 1x1 convolution of a single position is a linear layer."""
    shape = list(value.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _shapes_of(architecture: Architecture) -> dict[str, torch.Size]:
    network = EncoderNetwork(architecture, initialize_head=False)
    return {name: value.shape for name, value in network.state_dict().items()}


def _names(names: Sequence[str] | Weights) -> str:
    listed = list(names)
    return ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")
