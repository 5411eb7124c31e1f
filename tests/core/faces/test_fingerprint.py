from __future__ import annotations

from dataclasses import replace

import pytest

from faceclr_cli.core.errors import DataError, FingerprintError
from faceclr_cli.core.faces.crop import default_fingerprint, fingerprint_for_foreign_crops
from faceclr_cli.core.faces.fingerprint import Fingerprint

OURS = default_fingerprint()


def test_it_survives_json() -> None:
    assert Fingerprint.from_json(OURS.to_json(), "here") == OURS


@pytest.mark.parametrize("damage", [{}, {"size": "112"}, {"extra": 1}, {"size": None}])
def test_damage_is_an_error_that_names_the_artifact(damage: dict[str, object]) -> None:
    content = {**OURS.to_json(), **damage} if damage else {}
    with pytest.raises(DataError, match=r"store\.h5"):
        Fingerprint.from_json(content, "store.h5")


@pytest.mark.parametrize(
    ("field", "value"), [("detector", "haar"), ("size", 96), ("template", "eyes"), ("normalization", "imagenet")]
)
def test_the_field_that_differs_is_named(field: str, value: object) -> None:
    other = replace(OURS, **{field: value})
    with pytest.raises(FingerprintError, match=rf"a\.h5 and b\.h5 .*{field} is .*{value}"):
        OURS.require_same(other, "a.h5", "b.h5")


def test_crops_may_differ_from_an_encoder_in_what_it_does_itself() -> None:
    encoder = replace(OURS, channels="bgr", normalization="imagenet")
    OURS.require_same_crops(encoder, "faces", "run")
    with pytest.raises(FingerprintError, match="channels"):
        OURS.require_same(encoder, "faces", "run")
    with pytest.raises(FingerprintError, match="size"):
        OURS.require_same_crops(replace(encoder, size=160), "faces", "run")


def test_unknown_fields_are_ignored_except_for_the_template() -> None:
    theirs = fingerprint_for_foreign_crops("arcface", 112)
    OURS.require_same_crops(theirs, "encoder", "faces")
    theirs.require_same_crops(OURS, "encoder", "faces")
    with pytest.raises(FingerprintError, match="detector"):
        OURS.require_same(theirs, "a.h5", "b.h5")
    for other, field in (
        (fingerprint_for_foreign_crops(None, 112), "template"),
        (fingerprint_for_foreign_crops("arcface", 96), "size"),
    ):
        with pytest.raises(FingerprintError, match=field):
            OURS.require_same_crops(other, "encoder", "faces")
