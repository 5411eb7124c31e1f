"""`faceclr cluster`."""

from __future__ import annotations

from faceclr_cli.commands.cluster_tables import show_clusters
from faceclr_cli.commands.console import Console
from faceclr_cli.core.configs.cluster import ClusterConfig

EXAMPLE = "faceclr cluster faces.h5 --faces photos -o people"


def run(config: ClusterConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.clustering.cluster import cluster

    show_clusters(cluster(config, console.reporter), console)
