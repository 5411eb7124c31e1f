"""`faceclr benchmark`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console
from faceclr_cli.core.configs.benchmark import BenchmarkConfig

EXAMPLE = "faceclr benchmark lfw.bin cfp_fp.bin --model sface --model runs/pretrain-1"


def run(config: BenchmarkConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.commands.benchmark_tables import require_comparable_sets, show_benchmark, show_bin

    if config.write_bin is not None:
        from faceclr_cli.core.evaluation.benchmark.bin_export import write_benchmark_bin

        show_bin(write_benchmark_bin(config, console.reporter), console)
        return
    from faceclr_cli.core.evaluation.benchmark.benchmark import benchmark

    result = benchmark(config, console.reporter)
    show_benchmark(result, config, console)
    require_comparable_sets(result, config)
