"""Certain negatives of real faces: group photographs composed of the crops of several people."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from faceclr_cli.core.configs.prepare import PrepareConfig
from faceclr_cli.core.datasets.photo_mates import find_photographs
from faceclr_cli.core.encoders.loader import load_encoder
from faceclr_cli.core.events import Silent
from faceclr_cli.core.grouping.pseudo_people import certain_negatives, find_pseudo_people, should_stop
from faceclr_cli.core.metrics.cluster_agreement import cluster_scores
from faceclr_cli.core.metrics.normalization import normalize_rows
from faceclr_cli.core.preparing.ledger import LEDGER, Ledger
from faceclr_cli.core.preparing.prepare import prepare
from faceclr_cli.core.training.rounds_task import SHARES
from faceclr_cli.core.training.training_sets import open_face_folders

PEOPLE, PICTURES, SIDE = 40, 10, 150


def compose(faces: Path, out: Path) -> dict[str, list[str]]:
    """Photographs of four people each. Returns the people of each photograph, from left to right."""
    people = sorted(path for path in faces.iterdir() if len(list(path.glob("*.jpg"))) >= PICTURES)[:PEOPLE]
    rng, shown = np.random.default_rng(0), {}
    out.mkdir()
    for picture in range(PICTURES):
        for number, four in enumerate(rng.permutation(len(people)).reshape(-1, 4).tolist()):
            photo = np.full((SIDE, 4 * SIDE, 3), 120, np.uint8)
            for place, person in enumerate(four):
                crop = cv2.imread(str(sorted(people[person].glob("*.jpg"))[picture]))
                photo[19 : 19 + 112, place * SIDE + 19 : place * SIDE + 19 + 112] = crop
            name = f"{picture}-{number}.jpg"
            cv2.imwrite(str(out / name), photo)
            shown[name] = [people[person].name for person in four]
    return shown


def names_of(folder: Path, shown: dict[str, list[str]]) -> dict[str, str]:
    """The person of each crop, by its place in the photograph."""
    found = {}
    with Ledger.open_to_read(folder / LEDGER) as ledger:
        for row in ledger.rows():
            faces = [{"output": row.output, "box": json.loads(row.box or "null")}, *json.loads(row.more or "[]")]
            for face in faces:
                if face["output"] is not None:
                    left, _, width, _ = face["box"] if isinstance(face["box"], list) else json.loads(face["box"])
                    found[face["output"]] = shown[row.path][int((left + width / 2) // SIDE)]
    return found


def embed(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[str, ...]]:
    faces, encoder = open_face_folders([folder], Silent()), load_encoder("sface")
    rows = np.concatenate([encoder.embed(faces.crops(np.array([place]))) for place in range(len(faces))])
    return normalize_rows(rows).astype(np.float32), find_photographs(faces, [folder]), faces.paths


@pytest.mark.nightly
def test_group_photographs_show_the_precision_of_clusters_and_when_to_stop(real_data: Path, tmp_path: Path) -> None:
    shown = compose(real_data / "faces-train", tmp_path / "photos")
    folder = tmp_path / "faces"
    prepare(PrepareConfig(source=tmp_path / "photos", out=folder, face="all"), Silent())
    embeddings, photographs, paths = embed(folder)
    people = names_of(folder, shown)
    labels = np.unique([people[path] for path in paths], return_inverse=True)[1]
    pairs = certain_negatives(photographs)
    assert len(pairs) > 400 and (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    before = find_pseudo_people(embeddings, photographs, SHARES)
    assert before is not None and before.precision is not None and before.share > 0.5
    chosen = before.groups >= 0
    assert before.precision == pytest.approx(
        cluster_scores(labels[chosen], before.groups[chosen]).pairwise.precision, abs=0.1
    )
    # An encoder that confuses people: every face has the mean embedding of twenty random people.
    mixed = np.random.default_rng(0).integers(0, len(labels) // 20, len(labels))
    means = np.stack([embeddings[mixed == group].mean(axis=0) for group in range(mixed.max() + 1)])
    worse = find_pseudo_people(
        normalize_rows(means[mixed] + 0.02 * embeddings).astype(np.float32), photographs, [before.target]
    )
    assert should_stop(before, worse) == "more faces of one photograph would share a cluster"
