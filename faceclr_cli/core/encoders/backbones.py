"""Backbones: timm models without their classifiers, NN4-small2 and SFace."""

from __future__ import annotations

import difflib
import logging
import math
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from torch import nn

from faceclr_cli.core.encoders.architecture import SFACE_BACKBONE, Pool
from faceclr_cli.core.encoders.face_networks.sface_network import SFaceBackbone
from faceclr_cli.core.encoders.nn4 import NAME as NN4
from faceclr_cli.core.encoders.nn4 import NN4Small2
from faceclr_cli.core.errors import ConfigError, ModelError

# Raised by timm, torch and huggingface_hub if a model does not support an image size or its weights cannot be read.
_BUILD_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, KeyError, IndexError)
_WEIGHTS = "model.safetensors"
_OWN = (NN4, SFACE_BACKBONE)


def build_backbone(name: str, *, pretrained: bool, image_size: int, pool: Pool) -> nn.Module:
    """Builds a network without a classifier.

    Args:
        name: Name of a timm model, with or without the tag of its weights (`resnet18`, `convnext_atto.d2_in1k`),
            `nn4_small2` or `sface`.
        pretrained: Load ImageNet weights from the Hugging Face cache or hub; otherwise the weights are random.
        image_size: Side of the input in pixels.
        pool: `none` keeps the last feature map; `mean` pools it as the model does for its classifier.

    Returns:
        A module that maps (B, 3, image_size, image_size) to a feature map (B, C, H, W), or to pooled features (B, F).

    Raises:
        ConfigError: The model does not exist, does not support this image size, has no feature map to keep, or has no
            ImageNet weights.
        ModelError: The weights are not in the cache and cannot be downloaded.
    """
    if name not in _OWN and not timm.is_model(name):
        near = difflib.get_close_matches(name, [*_OWN, *timm.list_models()], n=3, cutoff=0.5)
        hint = f"; similar names: {', '.join(near)}" if near else ""
        raise ConfigError(f"--backbone {name}: timm has no such model{hint}")
    weights = _weights(name) if pretrained else {}
    if name in _OWN:
        return nn.Sequential(_build_own(name), *([nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pool == "mean" else []))
    settings = {"num_classes": 0, **_size_settings(name, image_size), **({"global_pool": ""} if pool == "none" else {})}
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **settings)
        shape = _feature_shape(model, image_size)
    except _BUILD_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"--backbone {name} does not support --image-size {image_size}: {reason}") from error
    if len(shape) != (3 if pool == "none" else 1):
        hint = "; use --pool mean" if pool == "none" else ""
        raise ConfigError(f"--backbone {name} returns features of shape {shape} with --pool {pool}{hint}")
    if pretrained:
        del model
        return _create_pretrained(name, settings, weights)
    return model


def _build_own(name: str) -> nn.Module:
    return NN4Small2() if name == NN4 else SFaceBackbone()


def feature_count(backbone: nn.Module, image_size: int) -> int:
    """Returns the number of features of a backbone for an input of this size: all elements of its feature map."""
    return math.prod(_feature_shape(backbone, image_size))


def _feature_shape(backbone: nn.Module, image_size: int) -> tuple[int, ...]:
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, image_size, image_size))
    backbone.train(training)
    return tuple(features.shape[1:])


def _size_settings(name: str, image_size: int) -> dict[str, Any]:
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
    # The hub's client retries for most of a minute if the host name does not resolve.
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname or ""
    if not urllib.request.getproxies() and not _resolves(host):
        raise _weights_unavailable(name, f"{host} cannot be reached")
    return {}


def _create_pretrained(name: str, settings: dict[str, Any], weights: dict[str, Any]) -> nn.Module:
    client = logging.getLogger("huggingface_hub")
    level = client.level
    client.setLevel(logging.ERROR)
    try:
        model: nn.Module = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=weights or None, **settings)
    except (OSError, *_BUILD_ERRORS) as error:
        raise _weights_unavailable(name, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    finally:
        client.setLevel(level)
    return model


def _weights_unavailable(name: str, reason: str) -> ModelError:
    return ModelError(
        f"--init imagenet: the weights of {name} are not in the cache and could not be downloaded ({reason})\n"
        "Run once with a network connection, or use --init random or --init RUN."
    )


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True
