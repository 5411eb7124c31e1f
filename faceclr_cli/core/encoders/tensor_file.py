"""Tensors to a file, in the safetensors format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Writes a new file and waits until it is on disk.

    Args:
        path: Where to.
        tensors: On any device, in any memory format; also such as share memory.
        note: Kept beside them.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # safetensors would keep the file from everybody else, whatever the user's umask says.
    path.touch(exist_ok=False)
    mode = path.stat().st_mode
    save_file(plain, path, metadata=dict(note) if note else None)
    path.chmod(mode)
    with open(path, "rb") as file:
        os.fsync(file.fileno())
