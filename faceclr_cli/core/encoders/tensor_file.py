"""Writing of tensors in the safetensors format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from faceclr_cli.core.artifacts import flush_file


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str] | None = None) -> None:
    """Writes tensors to a new file and flushes it to disk.

    Args:
        path: The file.
        tensors: Tensors by name, on any device and in any memory format. They may share memory.
        note: Metadata of the file.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    # safetensors makes the file private to the user, regardless of the umask.
    path.touch(exist_ok=False)
    mode = path.stat().st_mode
    save_file(plain, path, metadata=dict(note) if note else None)
    path.chmod(mode)
    flush_file(path)
