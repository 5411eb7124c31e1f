"""`faceclr import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, table
from faceclr_cli.core.configs.import_encoder import ImportConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faceclr_cli.core.evaluation.importing.preprocessing_candidates import MeasuredAssumption

EXAMPLE = "faceclr import w600k_mbf.onnx --faces celeba-splits/test --license MIT -o encoders/mbf"
_EVIDENCE = {
    "stated": "as stated",
    "file": "from the file",
    "measured": "measured",
    "faces": "as the faces were prepared",
    "assumed": "not measured",
}


def run(config: ImportConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.importing.import_encoder import import_encoder

    result = import_encoder(config, console.reporter)
    how = {name: _EVIDENCE[word] for name, word in result.evidence.items()}
    calibration = result.calibration
    rows = {
        "network": f"{result.form}, faces of {result.crop_size} x {result.crop_size} pixels to {result.dim} dimensions",
        "color": f"{result.color} ({how['color']})",
        "scale": f"{result.scale} ({how['scale']})",
        "template": f"{result.template} ({how['template']})",
        "license": str(result.source["license"]),
        "thresholds": f"for {len(calibration.points)} false accept rates" if calibration else "not calibrated",
        "written to": str(result.out),
    }
    console.show(
        result, *_ranking("pixels", result.measured), *_ranking("template", result.templates), format_facts(rows)
    )


def _ranking(heading: str, measured: Sequence[MeasuredAssumption]) -> list[str]:
    """Returns the table of measurements, best first."""
    names = [
        f"{each.assumption.color} {each.assumption.scale}" if heading == "pixels" else each.assumption.template
        for each in measured
    ]
    cells = [
        (
            name,
            str(each.faces),
            f"{each.auc:.4f}",
            f"{each.stability:.3f}",
            f"{each.separation:.2f}",
            "the same" if each.is_twin else f"{each.low:.2f} to {each.high:.2f}",
        )
        for name, each in zip(names, measured, strict=True)
    ]
    columns = (heading, "faces", "AUC", "stability", "separation", "behind the best")
    return [table(columns, cells)] if cells else []
