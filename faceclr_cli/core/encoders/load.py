"""From what the user calls an encoder to the encoder."""

from __future__ import annotations

from pathlib import Path

from faceclr_cli.core.encoders.base import Encoder
from faceclr_cli.core.errors import ConfigError, ModelError

BUILT_IN = ("sface", "pixels")


def load_encoder(model: str, device: str = "auto") -> Encoder:
    """Finds an encoder by name or folder.

    Args:
        model: `sface`, `pixels`, or the path of a run or encoder folder (`./sface` where one has such a name).
        device: `auto`, `cpu` or `cuda`. The built-in encoders run on the CPU alone.

    Raises:
        ModelError: There is no such encoder, or it is damaged or foreign.
        ConfigError: The device does not fit or is not there.
    """
    if model in BUILT_IN:
        if device == "cuda":
            raise ConfigError(f"--device cuda: {model} runs on the CPU alone; leave the option out")
        return _built_in(model)
    folder = Path(model)
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "there is no such folder"
        raise ModelError(
            f"--model {model}: {found}; give a run or encoder folder, or one of the built-in {' and '.join(BUILT_IN)}"
        )
    # torch takes seconds to import, and only these encoders need it.
    from faceclr_cli.core.encoders.bundle import load_bundle

    return load_bundle(folder, device)


def _built_in(model: str) -> Encoder:
    if model == "sface":
        from faceclr_cli.core.encoders.sface import SFaceEncoder

        return SFaceEncoder()
    from faceclr_cli.core.encoders.pixels import PixelsEncoder

    return PixelsEncoder()
