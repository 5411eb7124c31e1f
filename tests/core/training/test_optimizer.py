from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from faceclr_cli.core.configs.train import Optimizer
from faceclr_cli.core.training.optimizer import build_optimizer, default_lr, default_weight_decay

NAMES: list[Optimizer] = ["adamw", "lars", "sgd"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5)).double()


def gradients(module: nn.Module, step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in module.parameters()]


def take(optimizer: torch.optim.Optimizer, module: nn.Module, step: int) -> None:
    for parameter, gradient in zip(module.parameters(), gradients(module, step), strict=True):
        parameter.grad = gradient
    optimizer.step()


@pytest.mark.parametrize("weight_decay", [0.01, 0.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_lars_is_algorithm_1_of_the_paper_with_plain_steps_for_norms_and_biases(
    steps: int, weight_decay: float
) -> None:
    module, lr, trust, momentum = network(), 0.3, 0.001, 0.9
    optimizer = build_optimizer(module, "lars", lr=lr, weight_decay=weight_decay)
    w = [p.detach().clone() for p in module.parameters()]
    v = [torch.zeros_like(p) for p in w]
    for step in range(steps):
        take(optimizer, module, step)
        for layer, g in enumerate(gradients(module, step)):
            if w[layer].ndim > 1:
                local = trust * w[layer].norm() / (g.norm() + weight_decay * w[layer].norm())
                v[layer] = momentum * v[layer] + lr * local * (g + weight_decay * w[layer])
            else:
                v[layer] = momentum * v[layer] + lr * g
            w[layer] = w[layer] - v[layer]
    torch.testing.assert_close([p.detach() for p in module.parameters()], w, rtol=1e-9, atol=1e-12)


def test_sgd_has_momentum_and_decays_weights_alone() -> None:
    module, lr, weight_decay = network(), 0.1, 0.05
    optimizer = build_optimizer(module, "sgd", lr=lr, weight_decay=weight_decay)
    w = [p.detach().clone() for p in module.parameters()]
    v = [torch.zeros_like(p) for p in w]
    for step in range(3):
        take(optimizer, module, step)
        for layer, g in enumerate(gradients(module, step)):
            v[layer] = 0.9 * v[layer] + g + (weight_decay if w[layer].ndim > 1 else 0) * w[layer]
            w[layer] = w[layer] - lr * v[layer]
    torch.testing.assert_close([p.detach() for p in module.parameters()], w)


@pytest.mark.parametrize("name", NAMES)
def test_norms_and_biases_do_not_decay(name: Optimizer) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    optimizer = build_optimizer(module, name, lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    optimizer.step()
    changed = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
    assert changed == [True, False, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_optimizer_takes_the_same_steps(name: Optimizer) -> None:
    module, other = network(), network()
    optimizer = build_optimizer(module, name, lr=0.1, weight_decay=0.01)
    take(optimizer, module, 0)
    other.load_state_dict(module.state_dict())
    continued = build_optimizer(other, name, lr=0.1, weight_decay=0.01)
    continued.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for again, trained in ((optimizer, module), (continued, other)):
        take(again, trained, 1)
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_gradients_are_skipped(name: Optimizer) -> None:
    module = nn.Linear(3, 3, bias=False)
    module.weight.requires_grad_(False)
    with pytest.raises(ValueError, match="empty"):
        build_optimizer(module, name, lr=0.1, weight_decay=0.0)
    optimizer = build_optimizer(nn.Sequential(module, nn.Linear(3, 2)), name, lr=0.1, weight_decay=0.0)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]


def test_default_rates_are_those_of_the_papers_and_grow_with_the_batch_but_for_adamw() -> None:
    assert default_lr("adamw", 256) == default_lr("adamw", 4096) == 1e-3
    assert default_lr("lars", 4096) == pytest.approx(4.8)  # SimCLR, section 2.2
    assert default_lr("sgd", 256) == 0.1 and default_lr("sgd", 128) == 0.05
    assert [default_weight_decay(name) for name in NAMES] == [0.05, 1e-6, 5e-4]
