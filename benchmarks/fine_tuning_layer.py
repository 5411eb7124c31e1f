"""The effect of fine-tuning only a linear layer on embeddings on other people, for many recipes in minutes on a CPU.

    python benchmarks/fine_tuning_layer.py FACES STRANGERS

FACES and STRANGERS are stores of `faceclr embed`, or folders of prepared faces. A square layer on the embeddings, which
starts as the identity, is trained as `train-center` trains, without augmentation. 40 people of FACES are kept out.
TAR at FAR 0.001 of these people and of the strangers is compared with that before; see fine_tuning.py.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from fine_tuning import compare, embed, read_faces
from numpy.typing import NDArray

from faceclr_cli.core.datasets.samplers import shuffled_batches
from faceclr_cli.core.embeddings.store import read_store
from faceclr_cli.core.losses.classification_head import Classifier
from faceclr_cli.core.training.schedule import cosine_decay

MARGIN, MARGIN_WARMUP, WARMUP, BATCH = 0.35, 0.3, 0.1, 128


@dataclass(frozen=True)
class Recipe:
    """The training of the layer; the defaults are those of training from scratch, with a tenth of its rate."""

    lr: float = 0.005
    imprint: bool = True
    dropout: float = 0.0
    retain: float = 0.0


RECIPES = {
    "random weights, dropout 0.4": Recipe(imprint=False, dropout=0.4),
    "random weights": Recipe(imprint=False),
    "mean embeddings": Recipe(),
    "mean embeddings, --retain 3": Recipe(retain=3),
    "mean embeddings, --retain 10": Recipe(retain=10),
    "mean embeddings, --retain 30": Recipe(retain=30),
    "lr 0.05, random weights": Recipe(lr=0.05, imprint=False),
    "lr 0.05, mean embeddings": Recipe(lr=0.05),
    "lr 0.05, mean embeddings, --retain 10": Recipe(lr=0.05, retain=10),
}
SIZES = ((5, 5), (5, 20), (20, 5), (20, 20), (100, 5), (100, 20))
BEFORE, NOW = "random weights, dropout 0.4", "mean embeddings, --retain 10"


@dataclass(frozen=True)
class Faces:
    """Embeddings, shape (N, D), and the number of each one's person, shape (N,)."""

    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Faces:
        """Returns some of the faces, with people renumbered."""
        return Faces(self.embeddings[rows], np.unique(self.people[rows], return_inverse=True)[1])


def read(source: Path, model: str) -> tuple[Faces, list[str]]:
    """Reads a store, or embeds a folder. Returns the names of the people too."""
    if source.is_file():
        store = read_store(source)
        names, people = np.unique([str(name) for name in store.identities], return_inverse=True)
        return Faces(store.embeddings, people), names.tolist()
    faces = read_faces(source)
    return Faces(embed(model, faces, "cpu"), faces.people), [str(number) for number in range(faces.people.max() + 1)]


def train(faces: Faces, recipe: Recipe, epochs: int) -> NDArray[np.float32]:
    """Returns the transposed layer."""
    torch.manual_seed(0)
    embeddings, labels = torch.from_numpy(faces.embeddings), torch.from_numpy(faces.people)
    layer = torch.nn.Parameter(torch.eye(embeddings.shape[1]))
    classifier = Classifier(embeddings.shape[1], int(labels.max()) + 1, "cosface")
    if recipe.imprint:
        classifier.imprint(embeddings, labels)
    optimizer = torch.optim.SGD([layer, *classifier.parameters()], lr=recipe.lr, momentum=0.9)
    batches = [
        batch
        for epoch in range(epochs)
        for batch in shuffled_batches(len(labels), min(BATCH, len(labels)), seed=0, epoch=epoch)
    ]
    for step, batch in enumerate(batches):
        progress = (step + 0.5) / len(batches)
        for group in optimizer.param_groups:
            group["lr"] = cosine_decay(progress, recipe.lr, WARMUP)
        before = embeddings[batch]
        after = F.dropout(before, recipe.dropout) @ layer.T
        loss, _ = classifier(after, labels[batch], MARGIN * min(1.0, progress / MARGIN_WARMUP))
        loss = loss + recipe.retain * (1 - F.cosine_similarity(after, before).mean())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    transposed: NDArray[np.float32] = layer.detach().numpy().T
    return transposed


def report(title: str, layer: NDArray[np.float32], tests: list[Faces]) -> None:
    """Prints the change for each test."""
    line = f"{title:44}"
    for test in tests:
        after = test.embeddings @ layer
        after /= np.linalg.norm(after, axis=1, keepdims=True)
        found = compare(test.embeddings, after.astype(np.float32), test.people)
        line += f"{found.before:8.2%} {found.difference:+7.2%} ({found.low:+.2%}, {found.high:+.2%})"
    print(line, flush=True)


def main() -> None:
    """Trains all recipes and prints a table."""
    parser = argparse.ArgumentParser(description="The effect of a fine-tuned layer on embeddings on other people")
    parser.add_argument("faces", type=Path, help="embeddings or prepared faces of named people")
    parser.add_argument("strangers", type=Path, help="embeddings or prepared faces of other people")
    parser.add_argument("--model", default="sface", help="encoder of folders (default: sface)")
    parser.add_argument("--others", type=int, default=40, help="people to keep out of training (default: 40)")
    parser.add_argument("--most", type=int, default=1500, help="faces of strangers (default: 1500)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each recipe (default: 10)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces, names = read(options.faces, options.model)
    order = sorted(range(len(names)), key=lambda person: hashlib.sha256(names[person].encode()).digest())
    is_other = np.isin(faces.people, order[: options.others])
    strangers, _ = read(options.strangers, options.model)
    repeated = np.flatnonzero(np.bincount(strangers.people)[strangers.people] > 1)[: options.most]
    trained, tests = (
        faces.take(~is_other),
        [faces.take(is_other), strangers.take(np.isin(np.arange(len(strangers.people)), repeated))],
    )
    for group in (trained, *tests):
        print(f"{len(group.people)} faces of {group.people.max() + 1} people", flush=True)
    for title, recipe in RECIPES.items():
        report(title, train(trained, recipe, options.epochs), tests)
    rank = np.arange(len(trained.people)) - np.searchsorted(np.sort(trained.people), np.sort(trained.people))
    place = np.empty(len(rank), np.int64)
    place[np.argsort(trained.people, kind="stable")] = rank
    for people, pictures in SIZES:
        some = trained.take((trained.people < people) & (place < pictures))
        for title in (BEFORE, NOW):
            report(f"{people} x {pictures}, {title}", train(some, RECIPES[title], 2 * options.epochs), tests)


if __name__ == "__main__":
    main()
