"""Processes that torchrun starts share the faces that the first one of each machine has decoded."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from faceclr_cli.core.configs.pretrain import PretrainConfig
from faceclr_cli.core.events import Silent
from faceclr_cli.core.training.run_worker import TrainingJob, share_sets
from faceclr_cli.core.training.training_sets import TrainingSets, decode_listing, list_faces, open_sets
from tests.core.training.toy import SMALL, make_faces
from tests.preload import PRELOADED

pytestmark = pytest.mark.slow


def _opened(config: PretrainConfig, data: Path) -> TrainingSets:
    return open_sets(config, decode_listing(list_faces(config, (data,), ()), "auto", Silent()), (data,), (), Silent())


def _work(rank: int, nodes: int, root: Path) -> None:
    """Runs in each of two processes; only the first process of a machine can read the faces."""
    each = 2 // nodes
    local = rank % each
    place = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": each}
    os.environ.update({name: str(value) for name, value in place.items()}, TORCHELASTIC_RUN_ID="pair")
    os.environ["FACECLR_CACHE"] = "/dev/null/cache"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{root}/meeting", rank=rank, world_size=2)
    data = root / "faces" if local == 0 else root / "unreadable"
    config = PretrainConfig(**SMALL)
    sets = _opened(config, data) if rank == 0 else None
    job = TrainingJob(config=config, data=(data,), val=(), out=root, command="pretrain", sets=sets)
    faces = share_sets(job).train
    np.save(root / f"{rank}.npy", faces.crops(np.arange(len(faces))))
    (root / f"{rank}.txt").write_text("\n".join([str(faces.packed[0].base.filename), *faces.paths]))
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("nodes", [1, 2])
def test_only_the_first_process_of_a_machine_reads_the_faces(nodes: int, tmp_path: Path) -> None:
    """The cache cannot be written here."""
    make_faces(tmp_path / "faces", people=3, pictures=2)
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(_work, (nodes, tmp_path), nprocs=2, start_method="forkserver")
    first, second = (np.load(tmp_path / f"{rank}.npy") for rank in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first.reshape(len(first), -1), axis=0)) == len(first) > 0
    (source, *names), (other, *others) = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    assert names == others
    assert (source == other) == (nodes == 1)  # The same memory, not a copy.
