from __future__ import annotations

from pathlib import Path

import pytest

from faceclr_cli.core.encoders.load import BUILT_IN, load_encoder
from faceclr_cli.core.errors import ConfigError, ModelError


@pytest.mark.parametrize("model", BUILT_IN)
def test_built_in_encoders_go_by_name(model: str) -> None:
    assert load_encoder(model).name == model


def test_a_missing_model_is_named_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such folder.*sface and pixels") as caught:
        load_encoder(str(tmp_path / "run"))
    assert str(tmp_path / "run") in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_file_or_a_folder_without_an_encoder_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="not a folder"):
        load_encoder(str(tmp_path / "weights.bin"))
    with pytest.raises(ModelError, match="no encoder"):
        load_encoder(str(tmp_path))


def test_built_in_encoders_don_t_pretend_to_use_a_gpu() -> None:
    with pytest.raises(ConfigError, match="runs on the CPU alone"):
        load_encoder("sface", "cuda")
