"""Options of `faceclr embed`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.prepare import STANDARD_INPUT

STANDARD_OUTPUT = Path("-")
Format = Literal["h5", "jsonl", "csv", "npz", "parquet"]
_FORMATS: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".npz": "npz", ".parquet": "parquet"}
_TEXTS = frozenset({".doc", ".docx", ".htm", ".html", ".json", ".md", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"})
_TABLES = frozenset(
    {".arrow", ".avro", ".db", ".feather", ".lmdb", ".ods", ".orc", ".sqlite", ".xls", ".xlsm", ".xlsx"}
)
_ARRAYS = frozenset({".mat", ".npy", ".onnx", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tfrecord", ".zarr"})
_PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pdf", ".png", ".svg", ".tif", ".tiff", ".webp"})
_ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".rec", ".tar", ".tgz", ".xz", ".zip", ".zst"})
_OTHER_FORMATS = _TEXTS | _TABLES | _ARRAYS | _PICTURES | _ARCHIVES
"""Suffixes that name another format, so that a store of such a name would mislead. A name like `x.emb` is free."""

_NAMES = ", ".join(_FORMATS)

PHOTOGRAPHS, WRITING, MACHINE = "Photographs", "Writing", "Machine"


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Write the embeddings of many faces to an HDF5 store."""

    faces: Path | None = argument(
        None,
        help="Prepared faces, a part of a split, or photographs, aligned on the fly: a folder, a .zip or .tar, one "
        "file, or - for a list of paths on standard input",
        metavar="FACES",
    )
    model: str = option(
        "sface",
        short="-m",
        metavar="sface|pixels|RUN|FILE.onnx",
        help="A built-in encoder, a run or encoder folder, or .onnx",
    )
    out: Path | None = option(
        None,
        short="-o",
        metavar="FILE",
        streams=True,
        help="The store (default: FACES-MODEL.h5 here); one that exists is brought up to date; - is standard output",
    )
    flip: bool = option(False, help="Embed the mean of each face and its mirror image: twice the work")

    face: Literal["largest", "center", "best", "all", "only"] = option(
        "largest",
        panel=PHOTOGRAPHS,
        help="Which, of several; 'all' gives a row for each, 'best' is the surest, 'only' makes more than one an error",
    )
    layout: Literal["auto", "identities", "celeba", "list", "lfw", "flat"] = option(
        "auto", panel=PHOTOGRAPHS, help="How people are told apart, as for faceclr prepare"
    )
    depth: int | None = option(
        None, minimum=1, panel=PHOTOGRAPHS, help="Which folder names the person, as for faceclr prepare"
    )
    null: bool = option(False, panel=PHOTOGRAPHS, help="Paths on standard input end with NUL, as of find -print0")

    format: Format | None = option(
        None, panel=WRITING, help="Other than a store, nothing can be brought up to date (default: by the name of FILE)"
    )
    half: bool = option(False, panel=WRITING, help="Keep float16: half the size, three digits")
    prune: bool = option(False, panel=WRITING, help="Drop rows of the store whose picture is no longer in FACES")
    keep_parts: bool = option(
        False, panel=WRITING, help="Leave the parts beside the store, which then is an HDF5 virtual data set"
    )
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=WRITING,
        metavar="SHARE",
        help="Share of files that may fail before the exit code is 3",
    )

    batch_size: int = option(64, minimum=1, panel=MACHINE, help="Faces per forward pass")
    device: Literal["auto", "cpu", "cuda"] = option("auto", panel=MACHINE, help="'auto': the GPU if there is one")
    gpus: int | None = option(None, minimum=1, panel=MACHINE, help="GPUs to embed on, one process each")
    processes: int = option(1, minimum=1, panel=MACHINE, help="Processes on the CPU")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.gpus is not None and (self.processes > 1 or self.device == "cpu"):
            raise ValueError("--gpus starts one process per GPU; --processes and --device cpu are for the CPU")
        if self.processes > 1 and self.device == "cuda":
            raise ValueError("--processes is for the CPU; on GPUs give --gpus")
        if self.depth is not None and (self.layout not in ("auto", "identities") or self.faces == STANDARD_INPUT):
            raise ValueError("--depth is for a folder or archive with folders of people (--layout identities)")
        if self.null and self.faces != STANDARD_INPUT:
            raise ValueError("--null is for a list of paths on standard input: give - as FACES")
        if self.format == "h5" and self.out == STANDARD_OUTPUT:
            raise ValueError("--format h5: a store must be a file; give -o FILE, or another --format")
        if self.format is None and self.out is not None and self.out.suffix.lower() in _OTHER_FORMATS:
            raise ValueError(
                f"-o {self.out}: {self.out.suffix} is not a format that embed writes; name a store (.h5), {_NAMES}, or "
                "choose --format"
            )
        for_stores = {"prune": self.prune, "keep-parts": self.keep_parts, "half": self.half, "gpus": self.gpus}
        for_stores["processes"] = self.processes > 1
        if self.file_format != "h5" and any(for_stores.values()):
            name = "--" + next(name for name, given in for_stores.items() if given)
            raise ValueError(f"{name} is for a store; {self.file_format} is written anew, as one file")

    @property
    def file_format(self) -> Format:
        """What is written."""
        if self.format is not None or self.out is None:
            return self.format or "h5"
        return "jsonl" if self.out == STANDARD_OUTPUT else _FORMATS.get(self.out.suffix.lower(), "h5")
