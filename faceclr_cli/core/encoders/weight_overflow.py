"""8-bit graphs whose sums of products overflow on some processors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

_LARGEST_OF_7_BITS = 64
_CPU_INFO = Path("/proc/cpuinfo")


def weight_bits(graph: bytes) -> int:
    """Returns how many bits the 8-bit weights of a graph use: 7 since `export --int8` limits them, 8 before.

    Args:
        graph: The ONNX model.
    """
    tensors = onnx.ModelProto.FromString(graph).graph.initializer
    weights = (numpy_helper.to_array(each) for each in tensors if each.data_type == onnx.TensorProto.INT8)
    largest = max((int(np.abs(each.astype(np.int16)).max(initial=0)) for each in weights), default=0)
    return 7 if largest <= _LARGEST_OF_7_BITS else 8


def overflows_here() -> bool:
    """True if this processor adds products in 16 bits, as those of Intel and AMD do without VNNI; False if unknown."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((set(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), None)
    return flags is not None and flags.isdisjoint({"avx512_vnni", "avx_vnni"})
