"""`faceclr tsne`: two-dimensional maps of embeddings."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceclr_cli.core.artifacts import atomic_path
from faceclr_cli.core.configs.tsne import PAGE, TsneConfig
from faceclr_cli.core.embeddings.store import Store, is_store, read_store, select_most_pictured, store_required_error
from faceclr_cli.core.embeddings.transient_rows import embed_folder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.mapping.projection import NAMES, reduce
from faceclr_cli.core.evaluation.mapping.thumbnails import Thumbnail, make_thumbnails
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.degeneracy import DistinctEmbeddings, distinct_embeddings
from faceclr_cli.core.metrics.knn import neighbor_purity
from faceclr_cli.core.metrics.map_quality import SAMPLE_SIZE, cosine_silhouette, trustworthiness
from faceclr_cli.core.plots.fonts import warn_about_missing_letters
from faceclr_cli.core.plots.map_page import write_page
from faceclr_cli.core.plots.scatter_map import PICTURED, draw_map
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.wording import faces_of

_LEAST_FACES = 5
_NEIGHBORS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class MapResult:
    """A map and its quality metrics.

    Attributes:
        out: The first output file.
        written: All output files.
        method: `tsne`, `umap` or `pca`.
        encoder: Name of the encoder.
        faces: Number of faces on the map.
        people: Number of people on the map; 0 if unknown.
        perplexity: Perplexity of t-SNE; None for other methods.
        neighbors: Number of neighbors for the purities; None without people.
        purity: Mean share of a face's nearest neighbors on the map that show the same person.
        embedding_purity: The same for nearest neighbors by embedding.
        silhouette: Silhouette score of the people by cosine distance, -1 to 1; None for fewer than two people.
        trustworthiness: Trustworthiness of the map, 0 to 1.
        trustworthiness_neighbors: Number of neighbors for the trustworthiness.
        trustworthiness_faces: Number of faces for the trustworthiness: all, or a random sample.
        thumbnails: Number of faces with a thumbnail; None if no thumbnails were requested.
        paths: Path of each face. Shape: (faces,).
        identities: Person of each face, or None. Shape: (faces,).
        points: Coordinates of each face. Shape: (faces, 2).
    """

    out: str
    written: tuple[str, ...]
    method: str
    encoder: str
    faces: int
    people: int
    perplexity: float | None
    neighbors: int | None
    purity: float | None
    embedding_purity: float | None
    silhouette: float | None
    trustworthiness: float
    trustworthiness_neighbors: int
    trustworthiness_faces: int
    thumbnails: int | None
    paths: tuple[str, ...]
    identities: tuple[str | None, ...]
    points: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object; `points` has the path, identity, x and y of each face."""
        columns = ("paths", "identities", "points")
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in columns}
        faces = zip(self.paths, self.identities, self.points.tolist(), strict=True)
        points = [{"path": path, "identity": identity, "x": x, "y": y} for path, identity, (x, y) in faces]
        # The keys keep the spelling of earlier releases.
        plain = {name.replace("neighbors", "neighbours"): value for name, value in plain.items()}
        return plain | {"written": list(self.written), "points": points}


def tsne(config: TsneConfig, reporter: Reporter) -> MapResult:
    """Reduces the embeddings to two dimensions and draws them.

    Raises:
        ConfigError: No store was given, a requested person is not in the store, or a map would be written among the
            pictures.
        DataError: The store or folder cannot be read or has too few faces, or a map cannot be written.
        ModelError, FingerprintError: The encoder for a folder does not exist, or does not match the faces.
    """
    if config.store is None:
        raise ConfigError(store_required_error("tsne"))
    _require_apart(config)
    store = _select_faces(_open_store(config.store, config.model, reporter), config)
    distinct = _distinct(store, config)
    # Read thumbnails before the slow projection, since the folder may be missing.
    has_page = any(path.suffix.lower() == PAGE for path in config.outputs)
    pictures = None
    if has_page or (not store.people and len(store) <= PICTURED):
        pictures = make_thumbnails(store, store.config, config.faces, reporter)
    perplexity = _perplexity(config, len(distinct), reporter)
    points = reduce(store.embeddings[distinct.rows], config, perplexity, reporter)[distinct.place]
    if any(path.suffix.lower() != PAGE for path in config.outputs):
        warn_about_missing_letters(store.people, reporter)
    for path in config.outputs:
        _draw(path, store, points, pictures, config.method)
    neighbors = _comparable_neighbors(store)
    near = min(_NEIGHBORS, (len(store) - 1) // 2)
    return MapResult(
        out=str(config.outputs[0]),
        written=tuple(map(str, config.outputs)),
        method=config.method,
        encoder=store.encoder,
        faces=len(store),
        people=len(store.people),
        perplexity=perplexity,
        neighbors=neighbors,
        purity=neighbor_purity(points, _labels(store), neighbors) if neighbors else None,
        embedding_purity=neighbor_purity(store.embeddings, _labels(store), neighbors) if neighbors else None,
        silhouette=cosine_silhouette(store.embeddings, _labels(store)) if 1 < len(store.people) < len(store) else None,
        trustworthiness=trustworthiness(store.embeddings, points, near, seed=config.seed),
        trustworthiness_neighbors=near,
        trustworthiness_faces=min(SAMPLE_SIZE, len(store)),
        thumbnails=None if pictures is None else sum(picture is not None for picture in pictures),
        paths=store.paths,
        identities=store.identities,
        points=points,
    )


def _require_apart(config: TsneConfig) -> None:
    """Refuses PNG maps inside the folder of pictures, where the next run would read them as pictures."""
    source = config.store
    if source is None or not source.is_dir():
        return
    for path in config.outputs:
        if path.suffix.lower() == ".png" and path.resolve().is_relative_to(source.resolve()):
            text = "is inside the folder of pictures, where the map would be read as a picture; choose another"
            raise ConfigError(f"-o {display_path(path)}: {text}")


def _open_store(path: Path, model: str, reporter: Reporter) -> Store:
    """Reads a store, or embeds a folder, an archive or a list of pictures."""
    if is_store(path):
        return read_store(path)
    encoder = load_encoder(model)
    rows = embed_folder(path, encoder, model, reporter)
    return Store(
        embeddings=rows.embeddings,
        paths=rows.paths,
        identities=rows.identities,
        content_hashes=rows.content_hashes,
        detection_scores=rows.detection_scores,
        boxes=rows.boxes,
        fingerprint=encoder.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        calibration=encoder.calibration,
        config={"faces": str(path)},
    )


def _select_faces(store: Store, config: TsneConfig) -> Store:
    """Selects the requested people, or the people with the most pictures, or all faces if there are no names."""
    if config.people:
        known = store.people
        people = tuple(map(canonical, config.people))
        for name in people:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {display_path(near[0])}?" if near else f"; it has {len(known)} people"
                raise ConfigError(
                    f"--people {display_path(name)}: not found in {display_path(str(config.store))}{hint}"
                )
        wanted = set(people)
        store = store.take([row for row, name in enumerate(store.identities) if name in wanted])
    elif store.people:
        store = store.take(select_most_pictured(store, config.identities))
    if len(store) < _LEAST_FACES:
        raise DataError(
            f"{display_path(config.store or '')}: a map needs at least {_LEAST_FACES} faces, found {len(store)}"
        )
    return store


def _distinct(store: Store, config: TsneConfig) -> DistinctEmbeddings:
    """Returns the distinct embeddings. Copies are drawn at the position of the first."""
    distinct = distinct_embeddings(store.embeddings)
    if len(distinct) < _LEAST_FACES:
        raise DataError(
            f"{display_path(str(config.store))}: {len(store)} faces have only {len(distinct)} distinct embeddings, and "
            f"a map needs at least {_LEAST_FACES}; check for blank or duplicate pictures"
        )
    return distinct


def _perplexity(config: TsneConfig, faces: int, reporter: Reporter) -> float | None:
    if config.method != "tsne":
        return None
    # t-SNE uses three times as many neighbors as the perplexity.
    highest = (faces - 1) / 3
    if config.perplexity <= highest:
        return config.perplexity
    reporter.report(Notice(text=f"perplexity lowered from {config.perplexity:g} to {highest:.3g} for {faces} faces"))
    return highest


def _draw(
    out: Path, store: Store, points: NDArray[np.float32], pictures: Sequence[Thumbnail] | None, method: str
) -> None:
    """Writes one map atomically."""
    crowd = faces_of(len(store), len(store.people))
    title = f"{store.encoder} · {NAMES[method]}"
    try:
        with atomic_path(out) as temporary:
            if pictures is not None and out.suffix.lower() == PAGE:
                people, paths = store.identities, store.paths
                write_page(temporary, points, people, paths, pictures, title=title, subtitle=crowd)
            else:
                faces = pictures or ()
                draw_map(temporary, points, store.identities, title=title, subtitle=crowd, thumbnails=faces)
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error


def _labels(store: Store) -> list[str]:
    return [name or "" for name in store.identities]


def _comparable_neighbors(store: Store) -> int | None:
    """Returns the largest number of neighbors, up to ten, for which a perfect map has purity 1."""
    several = [count for name, count in Counter(store.identities).items() if name is not None and count > 1]
    return min(_NEIGHBORS, min(several) - 1) if several else None
