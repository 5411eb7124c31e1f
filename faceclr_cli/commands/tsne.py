"""`faceclr tsne`."""

from __future__ import annotations

from faceclr_cli.commands.console import Console, format_facts, format_percent
from faceclr_cli.core.configs.tsne import TsneConfig
from faceclr_cli.core.wording import count, faces_of

EXAMPLE = "faceclr tsne test.h5 -o map.png -o map.html"


_METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}


def run(config: TsneConfig, console: Console) -> None:
    """Runs the command and shows its result."""
    from faceclr_cli.core.evaluation.mapping.tsne import tsne

    result = tsne(config, console.reporter)
    rows = {"map": f"{faces_of(result.faces, result.people)}, {_METHODS[result.method]} of {result.encoder}"}
    if result.purity is not None and result.neighbors is not None:
        neighbors = count(result.neighbors, "nearest neighbor")
        rows["same person"] = (
            f"{format_percent(result.purity)} of each face's {neighbors} on the map, "
            f"{format_percent(result.embedding_purity)} in the embedding space"
        )
    if result.silhouette is not None:
        rows["silhouette"] = f"{result.silhouette:.3f} in the embedding space (cosine distance)"
    sample = (
        "" if result.trustworthiness_faces == result.faces else f", sample of {result.trustworthiness_faces:,} faces"
    )
    rows["trustworthiness"] = (
        f"{result.trustworthiness:.3f} for {result.trustworthiness_neighbors} neighbors on the map{sample}"
    )
    console.show(result, format_facts(rows | {"written to": ", ".join(result.written)}))
