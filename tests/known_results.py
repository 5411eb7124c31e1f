"""What the detector finds, for all tests of a process, since they look at the same pictures again."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray


def digest_of(picture: NDArray[np.uint8]) -> Hashable:
    """A key for the exact content of a picture."""
    return picture.shape, hashlib.blake2b(np.ascontiguousarray(picture)).digest()


def share_results(patch: pytest.MonkeyPatch) -> None:
    """Loads `sface` once, and runs each detector once for the same pixels.

    The detector is deterministic, and the keys contain all that it depends on, so that results are the same.
    """
    import cv2

    from faceclr_cli.core.encoders import sface_graph
    from faceclr_cli.core.faces import yunet

    patch.setattr(sface_graph, "build_sface_graph", _built_once(sface_graph.build_sface_graph))
    patch.setattr(cv2.dnn, "readNetFromONNX", _read_once(cv2.dnn.readNetFromONNX))
    patch.setattr(yunet, "_run_network", _detected_once(yunet._run_network))


def _built_once(build: Callable[[], bytes]) -> Callable[[], bytes]:
    from faceclr_cli.core.encoders import sface_graph

    graphs: dict[bytes, bytes] = {}

    def build_once() -> bytes:
        weights = hashlib.sha256(sface_graph.SFACE.read()).digest()
        if weights not in graphs:
            graphs[weights] = build()
        return graphs[weights]

    return build_once


def _read_once(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    networks: dict[bytes, Any] = {}

    def read_once(content: Any) -> Any:
        weights = hashlib.sha256(content).digest()
        # A network that is still in use, perhaps in another thread, is not shared.
        if weights not in networks or sys.getrefcount(networks[weights]) > 2:
            networks[weights] = read(content)
        return networks[weights]

    return read_once


def _detected_once(run: Callable[[Any, Any], list[Any]]) -> Callable[[Any, Any], list[Any]]:
    found: dict[Hashable, list[Any]] = {}

    def detect_once(network: Any, image: NDArray[np.uint8]) -> list[Any]:
        limits = network.getScoreThreshold(), network.getNMSThreshold(), network.getTopK()
        key = (limits, digest_of(image))
        if key not in found:
            found[key] = run(network, image)
        return [row.copy() for row in found[key]]

    return detect_once
