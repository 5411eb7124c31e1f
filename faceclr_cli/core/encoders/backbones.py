"""Backbones: timm models without their classifiers, networks made for faces, and NN4-small2."""

from __future__ import annotations

import difflib
import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any

import huggingface_hub
import timm
import torch
from torch import nn

from faceclr_cli.core.encoders.architecture import BackboneArgs, Pool
from faceclr_cli.core.encoders.face_networks.face_network_registry import FACE_NETWORKS, build_face_backbone
from faceclr_cli.core.encoders.hub_files import hub_host, is_hub_reachable
from faceclr_cli.core.encoders.nn4 import NAME as NN4
from faceclr_cli.core.encoders.nn4 import NN4Small2
from faceclr_cli.core.errors import ConfigError, ModelError

# Raised by timm, torch and huggingface_hub if a model does not support an image size or its weights cannot be read.
_BUILD_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, KeyError, IndexError)
# Arguments of timm models that other options determine.
_RESERVED = frozenset({"self", "num_classes", "in_chans", "img_size", "device", "dtype"})
_WEIGHTS = "model.safetensors"


def build_backbone(name: str, *, pretrained: bool, image_size: int, pool: Pool, args: BackboneArgs = ()) -> nn.Module:
    """Builds a network without a classifier.

    Args:
        name: Name of a timm model, with or without the tag of its weights (`resnet18`, `convnext_atto.d2_in1k`), of a
            network made for faces (see `FACE_NETWORKS`), or `nn4_small2`.
        pretrained: Load ImageNet weights from the Hugging Face cache or hub; otherwise the weights are random.
        image_size: Side of the input in pixels.
        pool: `none` keeps the last feature map; `mean` pools it as the model does for its classifier.
        args: Keyword arguments of the model.

    Returns:
        A module that maps (B, 3, image_size, image_size) to a feature map (B, C, H, W), or to pooled features (B, F).

    Raises:
        ConfigError: The model does not exist, does not support this image size or these arguments, has no feature map
            to keep, or has no ImageNet weights.
        ModelError: The weights are not in the cache and cannot be downloaded.
    """
    own = (NN4, *FACE_NETWORKS)
    if name not in own and not timm.is_model(name):
        near = difflib.get_close_matches(name, [*own, *timm.list_models()], n=3, cutoff=0.5)
        hint = f"; similar names: {', '.join(near)}" if near else ""
        raise ConfigError(f"--backbone {name}: timm has no such model{hint}")
    weights = _weights(name) if pretrained else {}
    if name == NN4:
        return _build_nn4(pool, args)
    if name in FACE_NETWORKS:
        return build_face_backbone(name, image_size=image_size, pool=pool, args=args)
    settings = {"num_classes": 0, **timm_settings(name, image_size), **({"global_pool": ""} if pool == "none" else {})}
    if args:
        _require_arguments(name, settings, args)
        settings |= dict(args)
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **settings)
        shape = feature_shape(model, image_size)
    except _BUILD_ERRORS as error:
        given = "".join(f" with --backbone-args {argument}={value}" for argument, value in args)
        raise ConfigError(
            f"--backbone {name}{given} does not support --image-size {image_size}: {_first_line(error)}"
        ) from error
    if len(shape) != (3 if pool == "none" else 1):
        hint = "; use --pool mean" if pool == "none" else ""
        raise ConfigError(f"--backbone {name} returns features of shape {shape} with --pool {pool}{hint}")
    if pretrained:
        del model
        return _create_pretrained(name, settings, weights)
    return model


def _build_nn4(pool: Pool, args: BackboneArgs) -> nn.Module:
    for argument, value in args:
        if argument != "pooling":
            raise ConfigError(f"--backbone-args {argument}: {NN4} does not have this argument; it takes pooling")
        if value not in ("table", "openface"):
            raise ConfigError(f"--backbone-args pooling={value}: must be table or openface")
    network = NN4Small2(has_strided_pooling=dict(args).get("pooling") == "openface")
    return nn.Sequential(network, *([nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pool == "mean" else []))


def _require_arguments(name: str, settings: Mapping[str, Any], args: BackboneArgs) -> None:
    """Checks that a timm model has these arguments, and that faceclr does not set them itself.

    Some of timm's functions accept arguments that change what a model returns, such as `features_only`.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        # Attention masks and the like are computed at construction, which some models cannot do without data.
        try:
            model_class = type(timm.create_model(name, pretrained=False, **settings))
        except (NotImplementedError, *_BUILD_ERRORS):
            with torch.device("cpu"):
                model_class = type(timm.create_model(name, pretrained=False, **settings))
    taken = [parameter.name for parameter in inspect.signature(model_class).parameters.values() if _is_open(parameter)]
    # Without pooling, the kind of pooling is empty.
    taken = [argument for argument in taken if argument != "global_pool" or "global_pool" not in settings]
    for argument, _ in args:
        if argument not in taken:
            raise ConfigError(
                f"--backbone-args {argument}: {name} does not have this argument; it takes {', '.join(taken)}"
            )


def _is_open(parameter: inspect.Parameter) -> bool:
    """Returns True for an argument whose value can be a number, a word, or the name of a layer."""
    is_plain = parameter.default is None or isinstance(parameter.default, bool | int | float | str)
    return parameter.name not in _RESERVED and (is_plain or parameter.name.endswith("_layer"))


def feature_count(backbone: nn.Module, image_size: int) -> int:
    """Returns the number of features of a backbone for an input of this size: all elements of its feature map."""
    return math.prod(feature_shape(backbone, image_size))


def feature_shape(backbone: nn.Module, image_size: int) -> tuple[int, ...]:
    """Returns the shape of a backbone's features of one picture of this size: (C, H, W), or (F,) if pooled."""
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, image_size, image_size))
    backbone.train(training)
    return tuple(features.shape[1:])


def timm_settings(name: str, image_size: int) -> dict[str, Any]:
    """Vision transformers take their input size at construction; convolutional networks do not have the option."""
    settings = timm.get_pretrained_cfg(name)
    return {"img_size": image_size} if settings is not None and settings.fixed_input_size else {}


def _weights(name: str) -> dict[str, Any]:
    """Returns timm settings that point to cached ImageNet weights, or nothing if timm must download them."""
    settings = timm.get_pretrained_cfg(name)
    if settings is None or not settings.has_weights:
        raise ConfigError(f"--init imagenet: there are no ImageNet weights for {name}; choose another --backbone")
    repository = settings.hf_hub_id
    if not repository:
        return {}
    cached = huggingface_hub.try_to_load_from_cache(repository, _WEIGHTS)
    if isinstance(cached, str):
        return {"file": cached}
    if not is_hub_reachable():
        raise _weights_unavailable(name, f"{hub_host()} cannot be reached")
    return {}


def _create_pretrained(name: str, settings: dict[str, Any], weights: dict[str, Any]) -> nn.Module:
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        model: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=weights or None, **settings)
    except (OSError, *_BUILD_ERRORS) as error:
        raise _weights_unavailable(name, _first_line(error)) from error
    finally:
        client.setLevel(level)
    return model


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _weights_unavailable(name: str, reason: str) -> ModelError:
    return ModelError(
        f"--init imagenet: the weights of {name} are not in the cache and could not be downloaded ({reason})\n"
        "Run once with a network connection, or use --init random or --init RUN."
    )
