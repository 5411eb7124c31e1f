"""The steps of `faceclr demo`: its drawn people, its configuration file and its command lines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PEOPLE, PHOTOS = 240, 10

CONFIG = """\
# A small network for small pictures, which a laptop trains in about a minute.
[pretrain]
backbone = "test_resnet"
image-size = 40
embedding-dim = 128
epochs = 25
batch-size = 64
lr = 4e-3
temperature = 0.07
hue = 0.025
light = 0.5
rotate = 8.0
blur = 0.2
augment = "simclr"
crop-scale = 0.4

# Two passes, since the student of sface starts with the weights of sface.
[distill]
epochs = 2
"""

STEPS = """\
prepare {0}/people -o {0}/faces
split {0}/faces -o {0}/splits --train 0.75 --val 0.05 --test 0.2
pretrain {0}/splits/train -o {0}/simclr --config {0}/faceclr.toml
pretrain {0}/splits/train -o {0}/untrained --config {0}/faceclr.toml --epochs 0
distill {0}/splits/train -o {0}/distilled --config {0}/faceclr.toml
embed {0}/splits/test --model pixels -o {0}/pixels.h5
embed {0}/splits/test --model {0}/untrained -o {0}/untrained.h5
embed {0}/splits/test --model {0}/simclr -o {0}/simclr.h5
embed {0}/splits/test --model {0}/distilled -o {0}/distilled.h5
linear-eval {0}/pixels.h5 {0}/untrained.h5 {0}/simclr.h5 {0}/distilled.h5
verify --embeddings {0}/pixels.h5 --pairs {0}/splits/pairs.csv
verify --embeddings {0}/simclr.h5 --pairs {0}/splits/pairs.csv
verify --embeddings {0}/distilled.h5 --pairs {0}/splits/pairs.csv
tsne {0}/simclr.h5 -o {0}/map.png
"""


@dataclass(frozen=True)
class DemoResult:
    """The result of the demo.

    Attributes:
        folder: Folder of all files.
        map: Map of the embeddings.
        seconds: Duration of the demo.
    """

    folder: str
    map: str
    seconds: float

    @property
    def summary(self) -> str:
        """The result as text, and the next steps."""
        return (
            f"\nThe demo took {self.seconds:.0f} s. Map of people that the encoder was not trained on: {self.map}\n"
            "Next, use your own photographs: faceclr prepare PHOTOS -o faces, then faceclr embed faces"
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a JSON object."""
        return asdict(self)
