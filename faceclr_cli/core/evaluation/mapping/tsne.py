"""`faceclr tsne`: embeddings in two dimensions, drawn."""

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
from faceclr_cli.core.embeddings.store import Store, is_store, read_store, rows_of_most_pictured, store_required_error
from faceclr_cli.core.embeddings.transient_rows import embed_folder
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.mapping.projection import NAMES, reduce
from faceclr_cli.core.evaluation.mapping.thumbnails import Thumbnail, thumbnails
from faceclr_cli.core.events import Notice, Reporter
from faceclr_cli.core.metrics.degeneracy import DistinctEmbeddings, distinct_embeddings
from faceclr_cli.core.metrics.knn import neighbor_purity
from faceclr_cli.core.metrics.map_quality import SAMPLE_SIZE, cosine_silhouette, trustworthiness
from faceclr_cli.core.plots.fonts import say_what_is_missing
from faceclr_cli.core.plots.map_page import write_page
from faceclr_cli.core.plots.scatter_map import PICTURED, draw_map
from faceclr_cli.core.text import canonical, display_path
from faceclr_cli.core.wording import count, faces_of

_LEAST_FACES = 5
_NEIGHBORS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class MapResult:
    """What was drawn.

    Attributes:
        out: The first file that was written.
        written: All of them.
        method: `tsne`, `umap` or `pca`.
        encoder: Who made the embeddings.
        faces: Points on the map.
        people: People on the map; 0 where nobody knows whose the faces are.
        perplexity: What t-SNE ran with; None for the other methods.
        neighbors: How many neighbors the purities count, at most; None where there are no people.
        purity: Of each face's nearest neighbors on the map, the share that are the same person.
        embedding_purity: The same among the embeddings themselves.
        silhouette: How far people are apart among the embeddings, by cosine, -1 to 1; None where there are not two.
        trustworthiness: How far neighbors on the map are neighbors among the embeddings, 0 to 1.
        trustworthiness_neighbors: How many neighbors it counts.
        trustworthiness_faces: How many faces it was asked of: all, or a sample that the seed draws.
        thumbnails: Faces whose picture is on a page; None without a page.
        paths: What each face is called. Shape: (faces,).
        identities: The person of each, or None. Shape: (faces,).
        points: Where each is on the map. Shape: (faces, 2).
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
        """The result as a JSON object; `points` has a path, an identity, x and y of each face."""
        columns = ("paths", "identities", "points")
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in columns}
        faces = zip(self.paths, self.identities, self.points.tolist(), strict=True)
        points = [{"path": path, "identity": identity, "x": x, "y": y} for path, identity, (x, y) in faces]
        # Keys keep the spelling of earlier releases.
        plain = {name.replace("neighbors", "neighbours"): value for name, value in plain.items()}
        return plain | {"written": list(self.written), "points": points}


def tsne(config: TsneConfig, reporter: Reporter) -> MapResult:
    """Reduces the embeddings to two dimensions and draws them.

    Raises:
        ConfigError: No store was given, a person is not in it, or a map would be among the photographs.
        DataError: The store or folder cannot be read or holds too few faces, or a map cannot be written.
        ModelError, FingerprintError: The encoder for a folder is not there, or does not fit its faces.
    """
    if config.store is None:
        raise ConfigError(store_required_error("tsne"))
    _require_apart(config)
    store = _chosen(_opened(config.store, config.model, reporter), config)
    distinct = _distinct(store, config)
    # Before long work, since the folder may not be there.
    has_page = any(path.suffix.lower() == PAGE for path in config.outputs)
    pictures = None
    if has_page or (not store.people and len(store) <= PICTURED):
        pictures = thumbnails(store, store.config, config.faces, reporter)
    perplexity = _perplexity(config, len(distinct), reporter)
    points = reduce(store.embeddings[distinct.rows], config, perplexity, reporter)[distinct.place]
    if any(path.suffix.lower() != PAGE for path in config.outputs):
        say_what_is_missing(store.people, reporter)
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
    """Maps that are pictures would be taken for photographs the next time."""
    source = config.store
    if source is None or not source.is_dir():
        return
    for path in config.outputs:
        if path.suffix.lower() == ".png" and path.resolve().is_relative_to(source.resolve()):
            text = "lies in the folder of pictures, where it would be taken for one of them; choose another"
            raise ConfigError(f"-o {display_path(path)}: {text}")


def _opened(path: Path, model: str, reporter: Reporter) -> Store:
    """A store as it is, or what an encoder makes of a folder, an archive or a list of pictures."""
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


def _chosen(store: Store, config: TsneConfig) -> Store:
    """Those named, or the people with the most pictures, or everything where nobody knows whose the faces are."""
    if config.people:
        known = store.people
        people = tuple(map(canonical, config.people))
        for name in people:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {display_path(near[0])}?" if near else f": it holds {len(known)} people"
                raise ConfigError(
                    f"--people {display_path(name)}: nobody in {display_path(str(config.store))} has that name{hint}"
                )
        wanted = set(people)
        store = store.take([row for row, name in enumerate(store.identities) if name in wanted])
    elif store.people:
        store = store.take(rows_of_most_pictured(store, config.identities))
    if len(store) < _LEAST_FACES:
        faces = count(len(store), "face")
        raise DataError(f"{display_path(config.store or '')}: {faces} cannot make a map; it takes {_LEAST_FACES}")
    return store


def _distinct(store: Store, config: TsneConfig) -> DistinctEmbeddings:
    """The embeddings without their copies, which are drawn where the first of them is."""
    distinct = distinct_embeddings(store.embeddings)
    if len(distinct) < _LEAST_FACES:
        raise DataError(
            f"{display_path(str(config.store))}: {len(store)} faces have {len(distinct)} different "
            "embeddings, and a map "
            f"takes {_LEAST_FACES} or more; are the pictures blank, or copies of each other?"
        )
    return distinct


def _perplexity(config: TsneConfig, faces: int, reporter: Reporter) -> float | None:
    if config.method != "tsne":
        return None
    # A perplexity is a number of neighbors, and t-SNE looks at three times as many.
    highest = (faces - 1) / 3
    if config.perplexity <= highest:
        return config.perplexity
    reporter.report(Notice(text=f"perplexity lowered from {config.perplexity:g} to {highest:.3g} for {faces} faces"))
    return highest


def _draw(
    out: Path, store: Store, points: NDArray[np.float32], pictures: Sequence[Thumbnail] | None, method: str
) -> None:
    """Writes one map, whole or not at all."""
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
    """As many as everybody has, up to ten, so that a perfect map has purity 1."""
    several = [count for name, count in Counter(store.identities).items() if name is not None and count > 1]
    return min(_NEIGHBORS, min(several) - 1) if several else None
