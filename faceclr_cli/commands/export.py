"""`faceclr export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, table
from faceclr_cli.core.configs.export import ExportConfig

if TYPE_CHECKING:
    from faceclr_cli.core.evaluation.quantization.quantized_export import Int8ExportResult

EXAMPLE = "faceclr export run -o encoder.onnx"


def run(config: ExportConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    if config.int8:
        from faceclr_cli.core.evaluation.quantization.quantized_export import export_int8

        _show_quantized(export_int8(config, console.reporter), console)
        return
    from faceclr_cli.core.encoders.export import export

    result = export(config, console.reporter)
    rows = {
        "graph": f"crops of {result.crop_size} x {result.crop_size} pixels to {result.dim} dimensions, "
        f"{result.precision}",
        "checked": f"{result.crops} random crops, cosine similarity to PyTorch at least {result.cosine:.7f}",
        "written to": f"{result.out} ({result.bytes / 1e6:.1f} MB)",
    }
    console.show(result, format_facts(rows))


def _show_quantized(result: Int8ExportResult, console: Console) -> None:
    report = result.report
    speed = " and ".join(f"{each.ratio:.2f} times at a batch size of {each.batch_size}" for each in result.speed)
    rows = {
        "graph": f"crops of {result.crop_size} x {result.crop_size} pixels to {result.dim} dimensions, int8",
        "quantized": f"with {result.scaling_faces:,} faces",
        "measured": f"{report.faces:,} faces of {report.people:,} other people",
        "cosine": f"to float32 {report.cosine:.4f} on average, {report.least_cosine:.4f} at least",
        "speed": f"compared with float32, {speed}",
        "written to": f"{result.out} ({result.bytes / 1e6:.1f} MB, float32 {result.bytes_before / 1e6:.1f} MB)",
    }
    columns = ("FAR", "TAR float32", "TAR int8", "threshold float32", "threshold int8")
    cells = [
        (
            f"{each.far:g}",
            format_percent(each.tar_before),
            format_percent(each.tar),
            f"{each.threshold_before:.4f}",
            f"{each.threshold:.4f}",
        )
        for each in report.rates
    ]
    console.show(result, table(columns, cells), format_facts(rows))
