"""`faceclr export`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, facts
from faceclr_cli.core.configs.export import ExportConfig

EXAMPLE = "faceclr export run -o encoder.onnx"


def run(config: ExportConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.encoders.export import export

    result = export(config, console.reporter)
    rows = {
        "graph": f"crops of {result.crop_size} x {result.crop_size} pixels to {result.dim} dimensions, "
        f"{result.precision}",
        "checked": f"{result.crops} random crops, cosine similarity to PyTorch at least {result.cosine:.7f}",
        "written to": f"{result.out} ({result.bytes / 1e6:.1f} MB)",
    }
    console.show(result, facts(rows))
