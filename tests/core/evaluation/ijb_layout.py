"""A set of templates in the layout of IJB-C: random embeddings in a store, and the published kinds of lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceclr_cli.core.embeddings.store import Store, write_store
from faceclr_cli.core.encoders.loader import load_encoder


@dataclass(frozen=True, kw_only=True, eq=False)
class IjbSet:
    """The files and their content: rows of `(picture, template, medium)`, and the person of each template."""

    store: Path
    pictures: Path
    pairs: Path
    gallery: Path
    probes: Path
    rows: list[tuple[str, int, int]]
    people: dict[int, int]
    faces: Store

    def vector(self, template: int, weights: np.ndarray | None = None) -> np.ndarray:
        """The template as IJB's evaluation computes it: the sum of the means of its media, normalized."""
        total = np.zeros(self.faces.dim)
        for medium in sorted({m for _, t, m in self.rows if t == template}):
            own = [row for row, (_, t, m) in enumerate(self.rows) if (t, m) == (template, medium)]
            shares = np.ones(len(own)) if weights is None else weights[own]
            total += (self.faces.embeddings[own].astype(np.float64) * shares[:, None]).mean(axis=0)
        return total / np.linalg.norm(total)

    def media(self, template: int) -> list[np.ndarray]:
        """The normalized mean of each medium of a template."""
        found = []
        for medium in sorted({m for _, t, m in self.rows if t == template}):
            own = [row for row, (_, t, m) in enumerate(self.rows) if (t, m) == (template, medium)]
            mean = self.faces.embeddings[own].astype(np.float64).mean(axis=0)
            found.append(mean / np.linalg.norm(mean))
        return found


def write_ijb(folder: Path, people: int = 24, each: int = 4, dim: int = 32, noise: float = 2.0) -> IjbSet:
    """Writes a set. The first half of the people are in the gallery, with their first template."""
    rng = np.random.default_rng(people)
    rows, vectors, who = [], [], dict[int, int]()
    centers = rng.normal(size=(people, dim))
    for template in range(1, people * each + 1):
        person = who[template] = (template - 1) % people
        for medium in range(rng.integers(1, 4)):
            scene = rng.normal(size=dim)
            for _ in range(rng.integers(1, 5)):
                rows.append((f"{len(rows) + 1}.jpg", template, template * 10 + medium))
                vectors.append(centers[person] + noise * (scene + rng.normal(size=dim)) / np.sqrt(2))
    faces, meta = np.array(vectors), folder / "meta"
    norms, encoder = np.linalg.norm(faces, axis=1, keepdims=True), load_encoder("sface")
    store = Store(
        embeddings=(faces / norms).astype(np.float32),
        # As `prepare` names faces of unknown people.
        paths=tuple(f"_/{name}" for name, _, _ in rows),
        identities=(None,) * len(rows),
        content_hashes=tuple(name for name, _, _ in rows),
        detection_scores=rng.uniform(0.5, 1, len(rows)).astype(np.float32),
        boxes=np.full((len(rows), 4), np.nan, np.float32),
        norms=norms[:, 0].astype(np.float32),
        fingerprint=encoder.fingerprint,
        encoder=encoder.name,
        encoder_digest=encoder.digest,
        calibration=None,
        config={},
    )
    meta.mkdir(parents=True)
    write_store(folder / "ijbx.h5", store)
    templates = list(who)
    lines = {
        "ijbx_face_tid_mid.txt": [f"{name} {template} {medium}" for name, template, medium in rows],
        "ijbx_template_pair_label.txt": [
            f"{a} {b} {int(who[a] == who[b])}" for a in templates for b in templates if a < b
        ],
        "ijbx_1N_gallery_G1.csv": ["TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID"]
        + [f"{t},{who[t]},img/{t}.jpg,{t}" for t in templates if t <= people // 2],
        "ijbx_1N_probe_mixed.csv": ["TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID"]
        + [f"{t},{who[t]},img/{t}.jpg,{t}" for t in templates if t > people],
    }
    for name, content in lines.items():
        (meta / name).write_text("\n".join(content) + "\n")
    pictures, pairs, gallery, probes = (meta / name for name in lines)
    return IjbSet(
        store=folder / "ijbx.h5",
        pictures=pictures,
        pairs=pairs,
        gallery=gallery,
        probes=probes,
        rows=rows,
        people=who,
        faces=store,
    )
