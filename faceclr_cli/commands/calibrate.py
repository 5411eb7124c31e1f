"""`faceclr calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faceclr_cli.commands.console import Console, format_facts, format_percent, table
from faceclr_cli.commands.group_tables import group_parts
from faceclr_cli.core.configs.calibrate import CalibrateConfig

if TYPE_CHECKING:
    from faceclr_cli.core.encoders.calibration_record import FarPoint

EXAMPLE = "faceclr calibrate --model runs/train-center-1 --root celeba-splits/test --all-pairs"


def run(config: CalibrateConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.calibration.calibrate import calibrate

    result = calibrate(config, console.reporter)
    people = f" of {result.people:,} people" if result.people else ""
    rows = {
        "encoder": result.encoder,
        "faces": f"{result.faces:,}{people}, {len(result.failures):,} pictures without a face",
        "pairs": f"{result.genuine:,} genuine, {result.impostor:,} impostor",
        "written to": str(result.out),
    }
    points = [
        (f"{point.far:g}", f"{point.threshold:.4f}", _interval(point), format_percent(point.tar))
        for point in result.calibration.points
    ]
    thresholds = table(("FAR", "threshold", "95% interval", "TAR"), points)
    console.show(result, format_facts(rows), thresholds, *group_parts(result.group_reports))


def _interval(point: FarPoint) -> str:
    return "too few people" if point.low is None or point.high is None else f"{point.low:.4f} to {point.high:.4f}"
