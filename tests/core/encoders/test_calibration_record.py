from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faceclr_cli.core.encoders.calibration_record import Calibration, FarPoint, read_calibration, write_calibration
from faceclr_cli.core.encoders.pixels import PixelsEncoder
from faceclr_cli.core.encoders.sface import SFaceEncoder
from faceclr_cli.core.errors import DataError, FingerprintError, ModelError
from faceclr_cli.core.metrics.probability import Logistic

CALIBRATION = Calibration(
    points=(
        FarPoint(far=0.01, threshold=0.25, tar=0.9, low=0.2, high=0.3),
        FarPoint(far=0.0001, threshold=0.5, tar=0.6),
    ),
    probability=Logistic(slope=20.0, offset=-5.0),
    source="pairs of Zoë",
)


def changed(*way: str | int, to: object) -> dict[str, Any]:
    """The calibration as JSON with one value replaced, or, by `...`, left out."""
    content: Any = json.loads(json.dumps(CALIBRATION.to_json()))
    inside = content
    for step in way[:-1]:
        inside = inside[step]
    if to is ...:
        del inside[way[-1]]
    else:
        inside[way[-1]] = to
    return dict(content)


MALFORMED = {
    "no points": changed("points", to=[]),
    "points that are a number": changed("points", to=3),
    "points that are words": changed("points", to=["far"]),
    "points left out": changed("points", to=...),
    "a threshold left out": changed("points", 0, "threshold", to=...),
    "a threshold of null": changed("points", 0, "threshold", to=None),
    "a threshold of NaN": changed("points", 0, "threshold", to=float("nan")),
    "a threshold that is a word": changed("points", 0, "threshold", to="high"),
    "a threshold of 400 digits": changed("points", 0, "threshold", to=10**400),
    "an infinite end": changed("points", 0, "high", to=float("inf")),
    "a rate above 1": changed("points", 0, "far", to=1.5),
    "a share below 0": changed("points", 0, "tar", to=-0.1),
    "an unknown field": changed("points", 0, "color", to=1),
    "a slope of NaN": changed("probability", "slope", to=float("nan")),
    "an infinite offset": changed("probability", "offset", to=float("inf")),
    "a slope of null": changed("probability", "slope", to=None),
    "a probability that is a number": changed("probability", to=0.5),
    "probability left out": changed("probability", to=...),
    "source left out": changed("source", to=...),
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_calibration(tmp_path / "mine.json", CALIBRATION, PixelsEncoder(), {"seed": 3})
    return tmp_path / "mine.json"


@pytest.mark.parametrize("calibration", [CALIBRATION, replace(CALIBRATION, probability=None)])
def test_json_keeps_everything(calibration: Calibration) -> None:
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_a_threshold_beyond_the_measured_rates_rises_as_between_the_last_two() -> None:
    points = [FarPoint(far=far, threshold=at, tar=0.9) for far, at in ((1e-3, 0.2), (1e-5, 0.5), (1e-4, 0.4), (0, 0.9))]
    measured = Calibration(points=tuple(points), source="")
    assert measured.threshold_beyond(1e-6) == pytest.approx(0.6)
    assert measured.threshold_beyond(1e-7) == pytest.approx(0.7)
    assert Calibration(points=tuple(points[:1]), source="").threshold_beyond(1e-6) is None
    falling = (points[2], FarPoint(far=1e-5, threshold=0.3, tar=0.9))
    assert Calibration(points=falling, source="").threshold_beyond(1e-6) == 0.3


def test_the_usual_point_is_the_one_nearest_to_one_in_a_thousand() -> None:
    rates = {0.05: 0.1, 0.002: 0.2, 0.0004: 0.3, 0.0: 0.4}
    points = tuple(FarPoint(far=far, threshold=threshold, tar=0.5) for far, threshold in rates.items())
    assert Calibration(points=points, source="").default_point.threshold == 0.2
    assert Calibration(points=points[::3], source="").default_point.threshold == 0.1
    assert Calibration(points=points[3:], source="").default_point.threshold == 0.4


def test_a_point_is_found_by_its_rate() -> None:
    assert CALIBRATION.at(1 / 100).threshold == 0.25
    assert CALIBRATION.at(1e-4 * (1 + 1e-9)).threshold == 0.5
    with pytest.raises(ValueError, match=r"no threshold for a FAR of 0\.001, only for 0\.01, 0\.0001"):
        CALIBRATION.at(1e-3)


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_refused(content: dict[str, Any], written: Path) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError, OverflowError)):
        Calibration.from_json(content)
    written.write_text(json.dumps(json.loads(written.read_text()) | {"calibration": content}))
    with pytest.raises(DataError, match=r"mine\.json: damaged") as caught:
        read_calibration(written, PixelsEncoder())
    assert "\n" not in str(caught.value)


def test_a_file_comes_back_and_says_what_made_it(written: Path) -> None:
    assert read_calibration(written, PixelsEncoder()) == CALIBRATION
    content = json.loads(written.read_text())
    assert (content["kind"], content["config"], content["encoder"]) == ("calibration", {"seed": 3}, "pixels")
    assert content["fingerprint"] == PixelsEncoder().fingerprint.to_json()
    assert [path.name for path in written.parent.iterdir()] == ["mine.json"]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda content: "", "cannot be read as JSON"),
        (lambda content: "[1]", "does not contain a JSON object"),
        (lambda content: '{"kind": ' + "[" * 100_000, "damaged"),
        (lambda content: content.replace('"kind": "calibration"', '"kind": "encoder"'), "not a calibration file"),
        (lambda content: content.replace('"encoder_digest"', '"digest"'), "damaged"),
        (lambda content: content.replace('"padding"', '"paddings"'), "damaged"),
        (lambda content: content.replace('"fingerprint": {', '"fingerprint": 3, "rest": {'), "damaged"),
        (lambda content: content.replace('"calibration": {', '"calibration": null, "rest": {'), "damaged"),
    ],
)
def test_an_invalid_calibration_is_an_error_of_one_line(damage: Callable[[str], str], text: str, written: Path) -> None:
    written.write_text(damage(written.read_text()))
    with pytest.raises(DataError, match=text) as caught:
        read_calibration(written, PixelsEncoder())
    assert str(written) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: no such file"):
        read_calibration(tmp_path / "gone.json", PixelsEncoder())


def test_thresholds_of_another_encoder_or_of_other_crops_are_refused(written: Path) -> None:
    with pytest.raises(ModelError, match="of the encoder pixels, not of sface"):
        read_calibration(written, SFaceEncoder())
    encoder = PixelsEncoder()
    encoder.fingerprint = replace(encoder.fingerprint, padding="white")
    with pytest.raises(FingerprintError, match="padding is 'black' and 'white'"):
        read_calibration(written, encoder)
