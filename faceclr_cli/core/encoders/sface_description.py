"""The built-in encoder `sface` as an encoder description. Imports neither torch nor OpenCV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from faceclr_cli.core.artifacts import stamp
from faceclr_cli.core.encoders.architecture import SFACE_BACKBONE, SFACE_PIXELS, Architecture, InputNormalization
from faceclr_cli.core.encoders.calibration_record import Calibration, read_calibration
from faceclr_cli.core.encoders.description import Card, Description
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.faces.fingerprint import Fingerprint
from faceclr_cli.core.faces.weights import SFACE

NAME = "sface"
SIZE = 112
DIM = 128

SFACE_ARCHITECTURE = Architecture(
    backbone=SFACE_BACKBONE,
    embedding_dim=DIM,
    image_size=SIZE,
    normalization=InputNormalization(std=(128.0, 128.0, 128.0)),
)
"""The network takes RGB values of (x - 127.5) / 128."""

_CALIBRATION = Path(__file__).with_name("sface.json")
"""Output of `faceclr calibrate`; docs/metrics.md describes the measurement."""


@dataclass(frozen=True, kw_only=True)
class _Identity:
    name: str
    digest: str
    fingerprint: Fingerprint


def sface_fingerprint() -> Fingerprint:
    """Returns the preprocessing of the built-in encoder, which scales its input itself."""
    channels, normalization = SFACE_PIXELS
    return replace(default_fingerprint(SIZE), channels=channels, normalization=normalization)


def sface_calibration() -> Calibration:
    """Returns the calibration that faceclr ships."""
    identity = _Identity(name=NAME, digest=SFACE.sha256, fingerprint=sface_fingerprint())
    return read_calibration(_CALIBRATION, identity)


def describe_sface() -> Description:
    """Returns the description that an encoder folder of the built-in encoder would have."""
    fingerprint, calibration = sface_fingerprint(), sface_calibration()
    # Trained on MS1M and others, whose identities are not listed by name.
    card = Card(command="built-in", config={}, data=SFACE.origin, pictures=0, people={})
    content = {
        **stamp("encoder", card.config),
        "architecture": SFACE_ARCHITECTURE.to_json(),
        "dim": DIM,
        "fingerprint": fingerprint.to_json(),
        "calibration": calibration.to_json(),
        "card": card.to_json(),
        "weights": {"sha256": SFACE.sha256},
    }
    return Description(
        folder=Path(NAME),
        architecture=SFACE_ARCHITECTURE,
        fingerprint=fingerprint,
        calibration=calibration,
        card=card,
        digest=SFACE.sha256,
        content=content,
    )
