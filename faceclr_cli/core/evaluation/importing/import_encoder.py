"""`faceclr import`: an encoder folder from a network of another project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from faceclr_cli.core.configs.calibrate import USUAL_FARS
from faceclr_cli.core.configs.fields import to_json
from faceclr_cli.core.configs.import_encoder import ImportConfig
from faceclr_cli.core.encoders.calibration_record import Calibration
from faceclr_cli.core.encoders.checkpoints.network_source import NetworkSource
from faceclr_cli.core.encoders.description import DESCRIPTION, Card
from faceclr_cli.core.errors import ConfigError, DataError
from faceclr_cli.core.evaluation.calibration.calibrate import measure_thresholds
from faceclr_cli.core.evaluation.importing.foreign_model import ForeignModel, ImportedEncoder
from faceclr_cli.core.evaluation.importing.import_source import open_import_source
from faceclr_cli.core.evaluation.importing.labeled_crops import LabeledCrops, open_labeled_crops
from faceclr_cli.core.evaluation.importing.preprocessing_candidates import (
    ARCFACE,
    Assumption,
    KnownPreprocessing,
    MeasuredAssumption,
)
from faceclr_cli.core.evaluation.importing.preprocessing_search import Search, search_preprocessing
from faceclr_cli.core.evaluation.importing.search_verdict import find_better_assumption, require_clear, require_encoder
from faceclr_cli.core.events import Notice, Reporter, track
from faceclr_cli.core.faces.align import Alignment
from faceclr_cli.core.faces.crop import default_fingerprint
from faceclr_cli.core.metrics.far_thresholds import pairs_needed
from faceclr_cli.core.text import display_path

Evidence = Literal["stated", "file", "measured", "faces", "assumed"]
_MOST_CALIBRATED = 2000
"""Faces for the calibration of an import; `faceclr calibrate` takes any number."""

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """An imported encoder.

    Attributes:
        out: The encoder folder.
        source: Its origin: file, digest, URL, revision and license.
        form: `ONNX graph`, or the backbone.
        crop_size: Side of its faces in pixels.
        dim: Length of an embedding.
        color: Channel order of the network's input.
        scale: Pixels of the network's input; see `parse_scale`.
        template: Alignment of the faces.
        evidence: The origin of color, scale and template: `stated` by the user, the `file`, `measured`, how the `faces`
            were prepared, or `assumed`.
        measured: The measurements of the pixels.
        templates: The measurements of the alignment; empty unless photographs were given.
        calibration: The thresholds, or None if there were no faces or too few people.
    """

    out: Path
    source: Mapping[str, Any]
    form: str
    crop_size: int
    dim: int
    color: str
    scale: str
    template: str
    evidence: Mapping[str, Evidence]
    measured: tuple[MeasuredAssumption, ...]
    templates: tuple[MeasuredAssumption, ...]
    calibration: Calibration | None

    def to_json(self) -> dict[str, Any]:
        """The result as a JSON object."""
        plain = {
            "out": str(self.out),
            "measured": [each.to_json() for each in self.measured],
            "templates": [each.to_json() for each in self.templates],
            "calibration": self.calibration.to_json() if self.calibration else None,
        }
        return asdict(self) | plain


def import_encoder(config: ImportConfig, reporter: Reporter) -> ImportResult:
    """Imports an encoder. Writes nothing if its preprocessing stays unknown.

    Raises:
        ModelError: The source is missing or damaged, needs other files or software, or is not a face encoder.
        ConfigError: The preprocessing must be stated, or the output is not an encoder folder.
        DataError: The faces cannot be read or are too few.
    """
    out = _require_writable(config.out)
    template = _require_template(config.template)
    opened, model = open_import_source(config)
    name = opened.name
    for text in model.notices:
        reporter.report(Notice(text=f"{name}: {text}"))
    stated = KnownPreprocessing(color=config.color, scale=config.scale, template=template)
    if model.takes_bytes and config.scale not in (None, "none"):
        raise ConfigError(f"--scale {config.scale}: {name} takes bytes, which are not scaled; omit the option")
    known = KnownPreprocessing(
        color=stated.color or model.declared.color,
        scale=stated.scale or model.declared.scale,
        template=stated.template or model.declared.template,
    )
    _report_contradictions(stated, model.declared, name, reporter)
    faces, search = _measure(config, model, known, name, reporter)
    chosen, evidence = _decide(stated, known, faces, search, name, reporter)
    calibration = _calibrate(config, out, model, chosen, faces, reporter)
    fingerprint = faces.fingerprint(chosen.template) if faces else None
    encoder = ImportedEncoder(
        normalization=chosen.normalization,
        fingerprint=replace(
            fingerprint or replace(default_fingerprint(model.side), template=chosen.template),
            channels=chosen.color,
            normalization=chosen.normalization.text,
        ),
        card=Card(command="import", config=to_json(config), data=opened.file, pictures=0, people={}),
        calibration=calibration,
        source=_source(config, opened, evidence),
    )
    try:
        model.write(out, encoder)
    except OSError as error:
        raise DataError(f"{display_path(out)}: cannot be written ({error.strerror or error})") from error
    return ImportResult(
        out=out,
        source=encoder.source,
        form=model.form,
        crop_size=model.side,
        dim=model.dim,
        color=chosen.color,
        scale=chosen.scale,
        template=chosen.template,
        evidence=evidence,
        measured=_table(search),
        templates=search.templates if search else (),
        calibration=calibration,
    )


def _require_writable(out: Path | None) -> Path:
    if out is None:
        raise ConfigError("give -o ENCODER, the folder to write")
    is_free = not out.exists() or (out.is_dir() and ((out / DESCRIPTION).is_file() or not any(out.iterdir())))
    if not is_free:
        raise ConfigError(f"-o {out}: exists, and is not an encoder folder; choose another name")
    return out


def _require_template(template: str | None) -> str | None:
    if template is not None:
        try:
            Alignment.named(template, "black", 112)
        except ValueError:
            raise ConfigError(
                f"--template {template}: must be arcface, or eyes or box with a margin: 'box 0.2'"
            ) from None
    return template


def _report_contradictions(
    stated: KnownPreprocessing, declared: KnownPreprocessing, name: str, reporter: Reporter
) -> None:
    for option in ("color", "scale", "template"):
        mine, theirs = getattr(stated, option), getattr(declared, option)
        if mine is not None and theirs is not None and mine != theirs:
            text = f"--{option} {mine}: {name} itself says {theirs}; the option is used"
            reporter.report(Notice(text=text, level="warning"))


def _measure(
    config: ImportConfig, model: ForeignModel, known: KnownPreprocessing, name: str, reporter: Reporter
) -> tuple[LabeledCrops | None, Search | None]:
    if config.faces is None:
        missing = [option for option in ("color", "scale") if getattr(known, option) is None]
        if missing:
            options = " and ".join(f"--{option}" for option in missing)
            raise ConfigError(
                f"{name}: does not state which pixels it takes; give --faces DIR, a folder of labeled people, to "
                f"measure them, or {options}"
            )
        return None, None
    faces = open_labeled_crops(config.faces, model.side, known.template, config.seed, name, reporter)
    search = search_preprocessing(
        model, faces, known, takes_bytes=model.takes_bytes, seed=config.seed, reporter=reporter
    )
    return faces, search


def _decide(
    stated: KnownPreprocessing,
    known: KnownPreprocessing,
    faces: LabeledCrops | None,
    search: Search | None,
    name: str,
    reporter: Reporter,
) -> tuple[Assumption, dict[str, Evidence]]:
    """Returns the preprocessing, and the origin of each part of it."""

    def evidence(option: str, otherwise: Evidence) -> Evidence:
        if getattr(stated, option) is not None:
            return "stated"
        return "file" if getattr(known, option) is not None else otherwise

    template = known.template or ARCFACE
    if faces is None or search is None:
        if known.color is None or known.scale is None:
            raise ConfigError(f"{name}: give --color and --scale")
        chosen = Assumption(color=known.color, scale=known.scale, template=template)
        return chosen, {each: evidence(each, "assumed") for each in ("color", "scale", "template")}
    is_complete = known.color is not None and known.scale is not None
    require_encoder(search, faces, name, is_complete, reporter)
    require_clear(search.pixels, known, name)
    chosen = search.pixels[0].assumption
    better = find_better_assumption(search, chosen)
    if better is not None:
        reporter.report(Notice(text=better, level="warning"))
    by_template: Evidence = "measured" if search.templates else "faces" if faces.is_prepared else "assumed"
    return chosen, {
        "color": evidence("color", "measured"),
        "scale": evidence("scale", "measured"),
        "template": evidence("template", by_template),
    }


def _calibrate(
    config: ImportConfig,
    out: Path,
    model: ForeignModel,
    chosen: Assumption,
    faces: LabeledCrops | None,
    reporter: Reporter,
) -> Calibration | None:
    """Measures thresholds if there are enough people; otherwise reports how to do it later."""
    if faces is None:
        return None
    pairs = faces.people * (faces.people - 1) // 2
    if pairs < pairs_needed(max(USUAL_FARS)):
        text = (
            f"not calibrated: {faces.people} people are too few; with more, run: faceclr calibrate --model "
            f"{display_path(out)} --root DIR --all-pairs"
        )
        reporter.report(Notice(text=text))
        return None
    crops, places = faces.load(chosen.template, _MOST_CALIBRATED, reporter)
    try:
        parts = np.array_split(crops, max(1, len(crops) // _BATCH))
        embedded = track(parts, reporter, "calibrating", total=len(parts), unit="batches")
        rows = np.concatenate([model.embed(part, chosen.normalization) for part in embedded])
        measured = measure_thresholds(rows, faces.labels[places], faces.origin, (), reporter, seed=config.seed)
    except ValueError as error:
        raise DataError(f"{faces.origin}: {error}") from error
    if len(faces) > _MOST_CALIBRATED:
        text = f"calibrated on {len(places):,} of {len(faces):,} faces; faceclr calibrate uses all"
        reporter.report(Notice(text=text))
    return measured.calibration


def _source(config: ImportConfig, opened: NetworkSource, evidence: Mapping[str, Evidence]) -> dict[str, Any]:
    found = opened.to_json()
    return {
        **found,
        "url": config.url or found["url"],
        "license": config.license if config.license != "unknown" else found["license"],
        "evidence": dict(evidence),
    }


def _table(search: Search | None) -> tuple[MeasuredAssumption, ...]:
    if search is None:
        return ()
    own = {each.assumption for each in search.pixels}
    return (*search.pixels, *(each for each in search.others if each.assumption not in own))
