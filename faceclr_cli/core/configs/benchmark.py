"""Options of `faceclr benchmark`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceclr_cli.core.configs.embed import Flip
from faceclr_cli.core.configs.fields import argument, check_limits, option
from faceclr_cli.core.configs.group_options import groups_option, groups_plot_option, require_groups
from faceclr_cli.core.configs.templates import TemplateMethod, template_list_option, template_option
from faceclr_cli.core.configs.verify import SingleFace

MEASURING, MACHINE = "Measurement", "Machine"


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Evaluate encoders on sets of verification pairs, side by side."""

    sets: tuple[Path, ...] = argument(
        (),
        help="Sets of pairs: insightface's .bin files or a folder of them, a folder of pictures with its pairs*.txt or "
        ".csv, LFW, CFP, a split, its test part, or a pairs file beside its pictures; with --pairs also a store",
        metavar="SET...",
    )
    model: tuple[str, ...] = option(
        (),
        short="-m",
        metavar="sface|pixels|RUN|FILE.onnx",
        help="Encoder: built-in, a run or encoder folder, or .onnx; may be repeated; the runs that a pattern such as "
        "'runs/resnet18-*' matches are one row (default: sface)",
    )
    format: Literal["table", "markdown", "csv", "latex"] = option("table", help="Format of the comparison")
    write_bin: Path | None = option(
        None,
        metavar="FILE.bin",
        help="Write the aligned faces of a single set to FILE in insightface's form, and evaluate nothing",
    )

    pairs: Path | None = option(
        None, metavar="FILE", panel=MEASURING, help="Pairs of a set that has none: CSV 'a,b,same' or LFW's lists"
    )
    rule: Literal["faceclr", "insightface"] = option(
        "faceclr",
        panel=MEASURING,
        help="How folds and thresholds are chosen; 'insightface': as its evaluate function, with folds in file order "
        "and thresholds in steps of 0.01",
    )
    flip: Flip = option(
        "none",
        bare="mean",
        panel=MEASURING,
        metavar="[mean|sum|none]",
        help="Combine each face with its mirror image, as in faceclr embed (default: none)",
    )
    folds: int = option(10, minimum=2, panel=MEASURING, help="Number of cross-validation folds")
    face: SingleFace | None = option(
        None,
        panel=MEASURING,
        help="Which face to use when a photograph has several (default: center, as in LFW; for stores: largest)",
    )
    seeds: bool = option(
        False, panel=MEASURING, help="Combine runs that differ only in their seed to one row: mean ± standard deviation"
    )
    trained_on: tuple[Path, ...] = option(
        (),
        metavar="DIR",
        panel=MEASURING,
        help="Training faces of the encoders: report people and near-duplicate pictures in the sets, and the result "
        "without them; may be repeated",
    )
    groups: Path | None = groups_option(MEASURING)
    groups_plot: Path | None = groups_plot_option(MEASURING)
    max_bad: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        panel=MEASURING,
        metavar="SHARE",
        help="Maximum share of the pairs of a set that fail; above it, the exit code is 3",
    )

    template: TemplateMethod | None = template_option()
    template_list: tuple[Path, ...] = template_list_option()

    batch_size: int = option(64, minimum=1, panel=MACHINE, help="Faces per forward pass")
    device: Literal["auto", "cpu", "cuda"] = option("auto", panel=MACHINE, help="Device; 'auto': the GPU if available")

    def __post_init__(self) -> None:
        check_limits(self)
        if not self.sets:
            raise ValueError("no sets given; type, for example: faceclr benchmark lfw.bin --model sface")
        if self.write_bin is not None and len(self.sets) > 1:
            raise ValueError(f"--write-bin requires a single set, not {len(self.sets)}")
        if self.write_bin is not None and self.model:
            raise ValueError("--write-bin evaluates nothing; omit --model")
        if self.pairs is not None and len(self.sets) > 1:
            raise ValueError(f"--pairs requires a single set, not {len(self.sets)}")
        require_groups(self.groups, self.groups_plot)
        self._check_templates()

    def _check_templates(self) -> None:
        if self.template is None:
            if self.template_list:
                raise ValueError("--template-list: requires --template mean, max or quality")
            return
        if self.template_list and len(self.sets) > 1:
            raise ValueError(f"--template-list requires a single set, not {len(self.sets)}")
        for name in ("write_bin", "trained_on", "groups"):
            if getattr(self, name):
                raise ValueError(f"--{name.replace('_', '-')}: cannot be combined with --template; omit it")
        if self.rule != "faceclr":
            raise ValueError("--rule: cannot be combined with --template, which has no folds; omit it")

    @property
    def face_choice(self) -> SingleFace:
        """Which face of a photograph to use."""
        return self.face or "center"

    @property
    def models(self) -> tuple[str, ...]:
        """The encoders, without repetitions."""
        return tuple(dict.fromkeys(self.model)) or ("sface",)
