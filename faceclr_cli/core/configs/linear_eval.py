"""Options of `faceclr linear-eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.fields import argument, check_limits, option

Probe = Literal["linear", "knn", "centroid"]
PARTS, RESULTS = "Own parts", "Results"


@dataclass(frozen=True, kw_only=True)
class LinearEvalConfig:
    """Measure how linearly separable people are in frozen embeddings."""

    stores: tuple[Path, ...] = argument(
        (),
        help="Stores of labeled faces, or folders of them: prepared, or photographs in a folder per person; several "
        "are compared side by side",
        metavar="STORE.h5|DIR...",
    )
    model: str = option(
        "sface", short="-m", metavar="sface|RUN|FILE.onnx", help="The encoder that embeds folders on the fly"
    )
    probe: Probe = option("linear", help="What is trained: a linear layer, or the nearest neighbors or centroid decide")
    identities: int | None = option(None, minimum=2, metavar="N", help="Only the N people with the most pictures")
    min_images: int = option(5, minimum=5, metavar="N", help="Leave out people with fewer pictures")
    seed: int = option(0, minimum=0, help="Fixes the 60/20/20 division of each person's pictures, and all draws")
    shots: str | None = option(
        None, metavar="N,N,...", help="Also train on so few pictures of each person: 1,2,5,10 gives a curve"
    )
    draws: int = option(5, minimum=2, metavar="N", help="Draws of those few pictures, over which the curve is a mean")
    rounds: int = option(1000, minimum=100, metavar="N", help="Resamples of the people, for the 95% intervals")

    train: Path | None = option(
        None,
        panel=PARTS,
        metavar="STORE.h5|DIR",
        help="Train on these instead of dividing a store; with --val and --test",
    )
    val: Path | None = option(
        None, panel=PARTS, metavar="STORE.h5|DIR", help="Choose the regularization (or k) on these"
    )
    test: Path | None = option(None, panel=PARTS, metavar="STORE.h5|DIR", help="Measure on these")

    format: Literal["table", "markdown", "csv"] = option(
        "table", panel=RESULTS, help="How the comparison is printed; Markdown and CSV go into a paper"
    )
    plot: Path | None = option(
        None, panel=RESULTS, metavar="FILE", help="Draw the confusion matrix: .png, .svg, .pdf, .jpg or .webp"
    )
    save: Path | None = option(
        None, panel=RESULTS, metavar="DIR", help="Keep the trained layer, for faceclr identify --gallery DIR"
    )

    def __post_init__(self) -> None:
        check_limits(self)
        parts = {"train": self.train, "val": self.val, "test": self.test}
        missing = [f"--{name}" for name, path in parts.items() if path is None]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"--train, --val and --test go together: {' and '.join(missing)} missing")
        if not missing and self.stores:
            raise ValueError(f"{self.stores[0]}: give either stores to divide, or --train, --val and --test")
        for name, path in (("save", self.save), ("plot", self.plot)):
            if path is not None and len(self.stores) > 1:
                raise ValueError(f"--{name} is for one encoder, and there are {len(self.stores)} stores: give one")
        if self.save is not None and self.probe != "linear":
            raise ValueError(f"--save keeps a linear layer, and --probe {self.probe} trains none")
        _ = self.shot_counts

    @property
    def shot_counts(self) -> tuple[int, ...]:
        """The numbers of `shots`, rising, each once.

        Raises:
            ValueError: They are none.
        """
        if self.shots is None:
            return ()
        try:
            counts = {int(number) for number in self.shots.split(",")}
        except ValueError:
            counts = {0}
        if min(counts) < 1:
            raise ValueError(f"--shots {self.shots}: is a list of numbers of pictures, such as 1,2,5,10")
        return tuple(sorted(counts))
