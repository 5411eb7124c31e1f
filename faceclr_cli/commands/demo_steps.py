"""The steps of `faceclr demo`: its drawn people, its configuration file and its command lines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

PEOPLE, PHOTOS = 240, 10

CONFIG = """\
# A small network on small pictures, so that a laptop trains it in about a minute.
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
"""

STEPS = """\
prepare {0}/people -o {0}/faces
split {0}/faces -o {0}/splits --train 0.75 --val 0.05 --test 0.2
pretrain {0}/splits/train -o {0}/simclr --config {0}/faceclr.toml
pretrain {0}/splits/train -o {0}/untrained --config {0}/faceclr.toml --epochs 0
embed {0}/splits/test --model pixels -o {0}/pixels.h5
embed {0}/splits/test --model {0}/untrained -o {0}/untrained.h5
embed {0}/splits/test --model {0}/simclr -o {0}/simclr.h5
linear-eval {0}/pixels.h5 {0}/untrained.h5 {0}/simclr.h5
verify --embeddings {0}/pixels.h5 --pairs {0}/splits/pairs.csv
verify --embeddings {0}/simclr.h5 --pairs {0}/splits/pairs.csv
tsne {0}/simclr.h5 -o {0}/map.png
"""


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    folder: str
    map: str
    seconds: float

    @property
    def summary(self) -> str:
        """The result as text, and what to do next."""
        return (
            f"\nThe whole demo took {self.seconds:.0f} s. A map of people it never saw: {self.map}\n"
            "Next, with a folder of your own photographs: faceclr prepare PHOTOS -o faces, then faceclr embed faces"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)
