"""`faceclr doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faceclr_cli.commands.console import Console, format_facts
from faceclr_cli.core.configs.doctor import DoctorConfig

if TYPE_CHECKING:
    from faceclr_cli.core.upkeep.doctor import Check

EXAMPLE = "faceclr doctor --ddp"


@dataclass(frozen=True)
class _Report:
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        return {"ok": all(check.ok for check in self.checks), "checks": [check.to_json() for check in self.checks]}


def run(config: DoctorConfig, console: Console) -> int:
    """Runs the checks and shows their results. The exit code is that of the first failed check."""
    from faceclr_cli.core.events import track
    from faceclr_cli.core.upkeep.doctor import examine_installation

    checks = list(track(examine_installation(processes=config.ddp), console.reporter, "checking", unit="checks"))
    rows = {check.name: f"{'ok' if check.ok else 'FAILED'}, {check.seconds:.2f} s: {check.found}" for check in checks}
    console.show(_Report(checks), format_facts(rows))
    for check in checks:
        if not check.ok:
            console.error(f"{check.name}: {check.found}")
    return next((check.exit_code for check in checks if not check.ok), 0)
