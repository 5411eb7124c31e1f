"""Options of `faceclr doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from faceclr_cli.core.configs.fields import option


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check that everything works here: packages, devices, weights, and a real face."""

    ddp: bool = option(False, help="Also train a little in one process and in two: both must learn the same")
