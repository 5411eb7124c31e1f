from __future__ import annotations

import pytest
import torch

from tests.core.evaluation.importing.foreign_files import Trained, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A small encoder of drawn people, with their crops."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = train(tmp_path_factory.mktemp("drawn"))
    torch.set_num_threads(threads)
    return made
