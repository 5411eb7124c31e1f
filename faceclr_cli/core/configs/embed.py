"""Options of `faceclr embed`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.prepare import STANDARD_INPUT

STANDARD_OUTPUT = Path("-")
Device = Literal["auto", "cpu", "cuda", "mps", "openvino", "coreml"]
ComputePrecision = Literal["float32", "bf16"]
Flip = Literal["none", "mean", "sum"]
QualityLevel = Literal["none", "basic", "full"]
Format = Literal["h5", "jsonl", "csv", "npz", "parquet"]
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
_TEXT_SUFFIXES = frozenset(
    {".doc", ".docx", ".htm", ".html", ".json", ".md", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
)
_TABLE_SUFFIXES = frozenset(
    {".arrow", ".avro", ".db", ".feather", ".lmdb", ".ods", ".orc", ".sqlite", ".xls", ".xlsm", ".xlsx"}
)
_ARRAY_SUFFIXES = frozenset(
    {".mat", ".npy", ".onnx", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tfrecord", ".zarr"}
)
_PICTURE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pdf", ".png", ".svg", ".tif", ".tiff", ".webp"})
_ARCHIVE_SUFFIXES = frozenset({".7z", ".bz2", ".gz", ".rar", ".rec", ".tar", ".tgz", ".xz", ".zip", ".zst"})
_FOREIGN_SUFFIXES = _TEXT_SUFFIXES | _TABLE_SUFFIXES | _ARRAY_SUFFIXES | _PICTURE_SUFFIXES | _ARCHIVE_SUFFIXES
"""Suffixes of other formats, which would be misleading for a store. Unknown suffixes such as `.emb` are allowed."""

_NAMES = ", ".join(_FORMATS)

PHOTOGRAPHS, WRITING, MACHINE = "Photographs", "Output", "Machine"


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Embed faces, and write the embeddings to an HDF5 store."""

    faces: Path | None = argument(
        None,
        help="Prepared faces, a part of a split, or photographs, which are aligned on the fly: a folder, a .zip or "
        ".tar, a file, or - to read paths from standard input",
        metavar="FACES",
    )
    model: str = option(
        "sface",
        short="-m",
        metavar="sface|pixels|RUN|FILE.onnx",
        help="Encoder: built-in, a run or encoder folder, or .onnx",
    )
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE",
        streams=True,
        help="Store to write or update (default: FACES-MODEL.h5 in the working directory); - writes to standard output",
    )
    flip: Flip = option(
        "none",
        bare="mean",
        metavar="[mean|sum|none]",
        help="Combine each face with its mirror image, at twice the cost; 'mean': of normalized embeddings; 'sum': of "
        "unnormalized ones, as in insightface's published figures (default: none)",
    )
    quality: QualityLevel = option(
        "none",
        bare="basic",
        metavar="[basic|full|none]",
        help="Measure the quality of each face; 'basic': sharpness, size and pose; 'full': also the stability of its "
        "embedding under mirroring and small shifts, at four times the cost (default: none)",
    )

    face: Literal["largest", "center", "best", "all", "only"] = option(
        "largest",
        panel=PHOTOGRAPHS,
        help="Which face to use when a photograph has several; 'best': highest detection score; 'all': one row per "
        "face; 'only': reject the photograph",
    )
    layout: Literal["auto", "identities", "celeba", "list", "lfw", "flat"] = option(
        "auto", panel=PHOTOGRAPHS, help="How people are named, as in faceclr prepare"
    )
    depth: int | None = option(
        None, minimum=1, panel=PHOTOGRAPHS, help="Level of the folder that names the person, as in faceclr prepare"
    )
    null: bool = option(
        False, panel=PHOTOGRAPHS, help="Paths on standard input are separated by NUL, as by find -print0"
    )

    format: Format | None = option(
        None, panel=WRITING, help="File format; only h5 can be updated (default: by the suffix of FILE)"
    )
    half: bool = option(False, panel=WRITING, help="Store float16: half the size, three significant digits")
    prune: bool = option(False, panel=WRITING, help="Remove rows of the store whose picture is no longer in FACES")
    keep_parts: bool = option(
        False, panel=WRITING, help="Keep the part files beside the store, which becomes an HDF5 virtual dataset"
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=WRITING,
        metavar="SHARE",
        help="Maximum share of failed files; above it, the exit code is 3",
    )

    batch_size: int = option(64, minimum=1, panel=MACHINE, help="Faces per forward pass")
    device: Device = option(
        "auto",
        panel=MACHINE,
        help="Device; 'auto': the NVIDIA or AMD GPU if available, otherwise the CPU; 'mps': Apple GPU, with PyTorch; "
        "'openvino', 'coreml': with ONNX Runtime",
    )
    precision: ComputePrecision = option(
        "float32",
        panel=MACHINE,
        help="Precision of the computation; 'bf16': with PyTorch, faster on a GPU and on a CPU with AMX",
    )
    gpus: int | None = option(None, minimum=1, panel=MACHINE, help="Number of GPUs, with one process each")
    processes: int = option(1, minimum=1, panel=MACHINE, help="Number of processes on the CPU")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.gpus is not None and (self.processes > 1 or self.device not in ("auto", "cuda")):
            raise ValueError("--gpus starts one process per GPU; omit --processes and --device")
        if self.processes > 1 and self.device not in ("auto", "cpu"):
            raise ValueError("--processes is for the CPU; use --gpus for GPUs")
        if self.depth is not None and (self.layout not in ("auto", "identities") or self.faces == STANDARD_INPUT):
            raise ValueError("--depth requires a folder or archive with a folder per person (--layout identities)")
        if self.null and self.faces != STANDARD_INPUT:
            raise ValueError("--null requires paths on standard input: give - as FACES")
        if self.format == "h5" and self.out == STANDARD_OUTPUT:
            raise ValueError(
                "--format h5: a store cannot be written to standard output; give -o FILE or another --format"
            )
        if self.format is None and self.out is not None and self.out.suffix.lower() in _FOREIGN_SUFFIXES:
            raise ValueError(
                f"-o {self.out}: embed does not write {self.out.suffix} files; use .h5, {_NAMES}, or choose --format"
            )
        for_stores = {"prune": self.prune, "keep-parts": self.keep_parts, "half": self.half, "gpus": self.gpus}
        for_stores["processes"] = self.processes > 1
        if self.file_format != "h5" and any(for_stores.values()):
            name = "--" + next(name for name, given in for_stores.items() if given)
            raise ValueError(f"{name} requires a store (.h5); {self.file_format} is written as a single new file")

    @property
    def file_format(self) -> Format:
        """The format of the output file."""
        if self.format is not None or self.out is None:
            return self.format or "h5"
        return "jsonl" if self.out == STANDARD_OUTPUT else _FORMATS.get(self.out.suffix.lower(), "h5")
