"""timm models as folders with `config.json`, on the Hugging Face hub or on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm

from faceclr_cli.core.artifacts import read_json
from faceclr_cli.core.encoders.architecture import Architecture, BackboneArgs, InputNormalization
from faceclr_cli.core.encoders.checkpoints.foreign_network import (
    ForeignNetwork,
    fit_weights,
    timm_key_map,
    timm_network,
)
from faceclr_cli.core.encoders.checkpoints.network_source import CONFIG
from faceclr_cli.core.encoders.checkpoints.state_dicts import read_weights
from faceclr_cli.core.encoders.hub_files import find_hub_file, is_hub_source
from faceclr_cli.core.errors import ConfigError, DataError, ModelError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_WHITE = 255.0
# The encoder network determines these itself.
_OWN_ARGUMENTS = frozenset({"num_classes", "img_size", "in_chans"})


def load_timm_folder(source: str) -> ForeignNetwork:
    """Loads a timm model from the hub or a folder. Its `config.json` states the model, its pixels and their number.

    The classifier is the embedding layer if it has as many outputs as an embedding and no names of classes. Otherwise,
    it is left out, and the pooled features are the embedding.

    Args:
        source: `hf-hub:USER/MODEL`, with `@REVISION` if needed, or a folder.

    Raises:
        ModelError: A file is missing, damaged or refused, or the model is not one of timm or not for square pictures in
            color.
    """
    place = find_hub_file(source, CONFIG) if is_hub_source(source) else Path(source) / CONFIG
    try:
        content = read_json(place)
    except DataError as error:
        raise ModelError(f"{source}: not a model of timm ({error})") from error
    weights = _find_weights(source)
    try:
        architecture, classifier, has_labels = _read_config(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{place}: does not describe a model of timm ({error})") from error
    if not timm.is_model(architecture.backbone):
        raise ModelError(f"{place}: the installed timm has no model {architecture.backbone}; upgrade timm")
    state = max(read_weights(weights), key=len)
    try:
        network = timm_network(architecture, state, None if has_labels else classifier)
    except ConfigError as error:
        raise ModelError(f"{place}: {error}") from error
    left_out = fit_weights(network, state, timm_key_map(classifier), weights, heads=(classifier,))
    notices = list(left_out)
    if network.architecture.head == "none":
        notices.append(f"the embedding is the {network.architecture.embedding_dim} pooled features of the model")
    pixels = content.get("pretrained_cfg", content)
    is_stated = "mean" in pixels and "std" in pixels
    if not is_stated:
        notices.append(f"{CONFIG} states no mean and standard deviation of the pixels")
    return ForeignNetwork(
        network=network,
        normalization=network.architecture.normalization if is_stated else None,
        notices=tuple(notices),
    )


def _find_weights(source: str) -> Path:
    if not is_hub_source(source):
        for name in WEIGHTS:
            if (Path(source) / name).is_file():
                return Path(source) / name
        raise ModelError(f"{source}: has no {' or '.join(WEIGHTS)}")
    try:
        return find_hub_file(source, WEIGHTS[0])
    except ModelError:
        # Older repositories have the other file alone.
        return find_hub_file(source, WEIGHTS[1])


def _read_config(content: Mapping[str, Any]) -> tuple[Architecture, str, bool]:
    """Returns the model, the name of its classifier, and whether its classes have names.

    Raises:
        KeyError, TypeError, ValueError: A field is missing, of the wrong type, or not supported.
    """
    # Older files state the pixels at the top.
    pixels = content.get("pretrained_cfg", content)
    name = str(content["architecture"])
    channels, height, width = (int(number) for number in pixels["input_size"])
    if channels != 3 or height != width:
        raise ValueError(f"pictures of {channels} channels and {height}x{width} pixels are not supported")
    normalization = InputNormalization()
    if "mean" in pixels and "std" in pixels:
        scaled = {key: [_WHITE * float(value) for value in pixels[key]] for key in ("mean", "std")}
        normalization = InputNormalization.from_json({"channels": "rgb", **scaled})
    settings = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    classifier = pixels.get("classifier") or (settings.classifier if settings else None) or "head"
    if not isinstance(classifier, str):
        raise ValueError("models with several classifiers are not supported")
    labels = content.get("label_names") or content.get("labels") or pixels.get("label_names")
    architecture = Architecture(
        backbone=name,
        embedding_dim=1,
        image_size=height,
        pool="mean",
        backbone_args=_read_arguments(content, name),
        normalization=normalization,
    )
    return architecture, classifier, bool(labels)


def _read_arguments(content: Mapping[str, Any], name: str) -> BackboneArgs:
    given = dict(content.get("model_args") or {})
    pooling = content.get("global_pool")
    if pooling and "global_pool" not in given and _pooling_differs(name, pooling):
        given["global_pool"] = pooling
    args = {key: value for key, value in given.items() if key not in _OWN_ARGUMENTS and value is not None}
    odd = [key for key, value in args.items() if not isinstance(value, bool | int | float | str)]
    if odd:
        raise ValueError(f"its argument {odd[0]} is not a number or a word")
    return tuple(sorted(args.items()))


def _pooling_differs(name: str, pooling: object) -> bool:
    """Returns True if a model does not pool in this way by itself."""
    if not timm.is_model(name):
        return False
    model = timm.create_model(name, pretrained=False)
    own = getattr(model, "global_pool", None) or getattr(getattr(model, "head", None), "global_pool", None)
    own = getattr(own, "pool_type", own)
    return isinstance(own, str) and own != pooling
