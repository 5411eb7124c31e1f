"""Options of `faceclr doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.configs.fields import option


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check packages, devices and weights, and verify a real face."""

    ddp: bool = option(False, help="Also train for a few steps in one process and in two, and compare the results")
