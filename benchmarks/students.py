"""Speed and size of possible students of a distillation, beside sface, on this machine.

    python benchmarks/students.py sface@48 resnet10t@112 resnet10t@64 mobilefacenet@112

NETWORK@SIZE is a backbone and the side of its input in pixels; its embeddings have the length of sface's. Each network
is exported with random weights, which take the same time as trained ones. ONNX Runtime embeds the same batch of crops
by all networks in turns; the rates are medians, and so are the ratios to sface in the same turn. The training rates are
those of forward pass, backward pass and AdamW on one batch in memory, without decoding and views, in float32 and bf16.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from faceclr_cli.core.encoders.architecture import Architecture
from faceclr_cli.core.encoders.built_in_network import load_sface_network
from faceclr_cli.core.encoders.export_graph import ExportedNetwork, trace
from faceclr_cli.core.encoders.network import EncoderNetwork
from faceclr_cli.core.encoders.sface_description import SFACE_ARCHITECTURE
from faceclr_cli.core.training.strided_convolutions import keep_in_float32
from faceclr_cli.core.workers.process import claim_process

STUDENTS = (
    "sface@64",
    "sface@56",
    "sface@48",
    "sface@40",
    "resnet10t@112",
    "resnet10t@80",
    "resnet10t@64",
    "resnet18@64",
    "mobilefacenet@112",
    "mobilenetv3_large_100@112",
)
_SIDE = 112


def build(name: str) -> EncoderNetwork:
    """Builds an untrained network by its NETWORK@SIZE."""
    backbone, side = name.split("@")
    dim = SFACE_ARCHITECTURE.embedding_dim
    return EncoderNetwork(Architecture(backbone=backbone, embedding_dim=dim, image_size=int(side)))


def forward_by_onnx_runtime(network: EncoderNetwork, batch: int) -> Callable[[], None]:
    """Returns a function that embeds a batch of crops by the exported graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Otherwise the threads of each network keep spinning for a while, in the turns of the others.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    graph = trace(ExportedNetwork(network, _SIDE, half=False), _SIDE).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    crops = np.random.default_rng(0).integers(0, 256, (batch, _SIDE, _SIDE, 3)).astype(np.uint8)

    def forward() -> None:
        session.run(None, {session.get_inputs()[0].name: crops})

    return forward


def step_by_torch(network: EncoderNetwork, batch: int, *, half: bool) -> Callable[[], None]:
    """Returns a function that trains on one batch, in bf16 if `half`."""
    side, dim = network.architecture.image_size, network.architecture.embedding_dim
    network = network.train().to(memory_format=torch.channels_last)
    keep_in_float32(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)
    views = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    targets = nn.functional.normalize(torch.randn(batch, dim), dim=1)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            embeddings = network(views)
        loss = 1 - nn.functional.cosine_similarity(embeddings.float(), targets).mean()
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def multiplications(network: EncoderNetwork) -> float:
    """Returns the millions of multiplications for one picture."""
    side = network.architecture.image_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, 3, side, side))
    return float(counter.get_total_flops()) / 2e6


def seconds(run: Callable[[], None]) -> float:
    """Returns the wall time of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Measures all networks in turns and prints a table."""
    parser = argparse.ArgumentParser(description="Speed and size of students beside sface")
    parser.add_argument("students", nargs="*", default=list(STUDENTS), metavar="NETWORK@SIZE")
    parser.add_argument("--threads", type=int, default=2, help="number of threads (default: 2)")
    parser.add_argument("--batch-size", type=int, default=32, help="crops per batch (default: 32)")
    parser.add_argument("--rounds", type=int, default=7, help="number of turns (default: 7)")
    options = parser.parse_args()
    claim_process()
    torch.set_num_threads(options.threads)
    networks = {"sface": load_sface_network()} | {name: build(name) for name in options.students}
    embed = {name: forward_by_onnx_runtime(network, options.batch_size) for name, network in networks.items()}
    for run in embed.values():
        run()
    turns = [{name: seconds(run) for name, run in embed.items()} for _ in range(options.rounds)]
    print(f"{'':28}M weights  M mult.  embeds/s  x sface  trains/s  in bf16   {options.threads} threads")
    for name, network in networks.items():
        weights = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        rate = options.batch_size / median(turn[name] for turn in turns)
        ratio = median(turn["sface"] / turn[name] for turn in turns)
        mults = multiplications(network)
        trained = []
        for half in (False, True):
            step = step_by_torch(network, options.batch_size, half=half)
            step()
            trained.append(options.batch_size / median(seconds(step) for _ in range(max(1, options.rounds // 2))))
        print(
            f"{name:28}{weights:9.1f}{mults:9.0f}{rate:10.0f}{ratio:9.1f}{trained[0]:10.0f}{trained[1]:9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
