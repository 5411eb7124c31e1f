"""Options of `faceclr linear-eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

Probe = Literal["linear", "knn", "centroid"]
PARTS, RESULTS = "Separate parts", "Results"


@dataclass(frozen=True, kw_only=True)
class LinearEvalConfig:
    """Evaluate frozen embeddings with a linear probe, k-NN or centroids."""

    stores: tuple[Path, ...] = argument(
        (),
        help="Stores or folders of labeled faces: prepared faces, or photographs in a folder per person; several are "
        "compared side by side",
        metavar="STORE.h5|DIR...",
    )
    model: str = option(
        "sface",
        short="-m",
        metavar="sface|RUN|FILE.onnx",
        help="Encoder for folders: built-in, a run or encoder folder, or .onnx",
    )
    probe: Probe = option("linear", help="Classifier: a linear layer, the nearest neighbors, or the nearest centroid")
    identities: int | None = option(None, minimum=2, metavar="N", help="Use only the N people with the most pictures")
    min_images: int = option(5, minimum=5, metavar="N", help="Exclude people with fewer pictures")
    seed: int = option(
        0, minimum=0, help="Random seed of the 60/20/20 split of each person's pictures, and of all draws"
    )
    shots: str | None = option(
        None,
        metavar="N,N,...",
        help="Also evaluate few-shot accuracy with N training pictures per person, such as 1,2,5,10",
    )
    draws: int = option(5, minimum=2, metavar="N", help="Number of random draws per value of --shots")
    rounds: int = option(1000, minimum=100, metavar="N", help="Bootstrap resamples of the people for the 95% intervals")

    train: Path | None = option(
        None,
        panel=PARTS,
        metavar="STORE.h5|DIR",
        help="Training faces, instead of splitting a store; requires --val and --test",
    )
    val: Path | None = option(
        None, panel=PARTS, metavar="STORE.h5|DIR", help="Validation faces, on which the regularization (or k) is chosen"
    )
    test: Path | None = option(
        None, panel=PARTS, metavar="STORE.h5|DIR", help="Test faces, on which the classifier is evaluated"
    )

    format: Literal["table", "markdown", "csv"] = option("table", panel=RESULTS, help="Format of the comparison")
    plot: Path | None = option(
        None, panel=RESULTS, metavar="FILE", help="Plot the confusion matrix to FILE (.png, .svg, .pdf, .jpg, .webp)"
    )
    save: Path | None = option(
        None, panel=RESULTS, metavar="DIR", help="Save the trained classifier, for faceclr identify --gallery DIR"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        parts = {"train": self.train, "val": self.val, "test": self.test}
        missing = [f"--{name}" for name, path in parts.items() if path is None]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"--train, --val and --test must be given together; add {' and '.join(missing)}")
        if not missing and self.stores:
            raise ValueError(f"{self.stores[0]}: give either stores, or --train, --val and --test")
        for name, path in (("save", self.save), ("plot", self.plot)):
            if path is not None and len(self.stores) > 1:
                raise ValueError(f"--{name} requires a single store, not {len(self.stores)}")
        if self.save is not None and self.probe != "linear":
            raise ValueError(f"--save requires --probe linear, not {self.probe}")
        _ = self.shot_counts

    @property
    def shot_counts(self) -> tuple[int, ...]:
        """The distinct numbers in `shots`, in ascending order.

        Raises:
            ValueError: `shots` is not a list of positive integers.
        """
        if self.shots is None:
            return ()
        try:
            counts = {int(number) for number in self.shots.split(",")}
        except ValueError:
            counts = {0}
        if min(counts) < 1:
            raise ValueError(f"--shots {self.shots}: must be a list of numbers of pictures, such as 1,2,5,10")
        return tuple(sorted(counts))
