"""SOAP against its definition, and where it has to beat Adam."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from zoo.training.optimizer import make_optimizer
from zoo.training.recipe import Recipe
from zoo.training.soap import Soap


def soap_of_one_matrix(weight: np.ndarray, gradients: list[np.ndarray], lr: float, beta: float,
                       every: int) -> np.ndarray:
    """The algorithm step by step for one matrix, both sides rotated; the signs of the bases do not matter."""
    w, mean, square = weight.copy(), np.zeros_like(weight), np.zeros_like(weight)
    left, right = gradients[0] @ gradients[0].T, gradients[0].T @ gradients[0]
    q_left, q_right = np.linalg.eigh(left)[1][:, ::-1], np.linalg.eigh(right)[1][:, ::-1]
    for t, g in enumerate(gradients, 1):
        mean = beta * mean + (1 - beta) * g
        rotated = q_left.T @ g @ q_right
        square = beta * square + (1 - beta) * rotated**2
        direction = (q_left.T @ mean @ q_right / (1 - beta**t)) / (np.sqrt(square / (1 - beta**t)) + 1e-8)
        w = w - lr * q_left @ direction @ q_right.T
        left, right = beta * left + (1 - beta) * g @ g.T, beta * right + (1 - beta) * g.T @ g
        if t % every == 0:
            for axis in (0, 1):
                moments, q = (left, q_left) if axis == 0 else (right, q_right)
                order = np.argsort(-np.einsum("ia,ij,ja->a", q, moments, q), kind="stable")
                square = square[order] if axis == 0 else square[:, order]
                q = np.linalg.qr(moments @ q[:, order])[0]
                q_left, q_right = (q, q_right) if axis == 0 else (q_left, q)
    return w


@pytest.mark.parametrize("stacked", [False, True])
def test_it_is_the_published_algorithm(stacked: bool) -> None:
    """Also for matrices that are worked on together, and for a stack of matrices in one parameter."""
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(2, 4, 4)), rng.normal(size=(12, 2, 4, 4))
    tensors = [torch.tensor(start)] if stacked else [torch.tensor(w) for w in start]
    parameters = [nn.Parameter(t.clone()) for t in tensors]
    optimizer = Soap(parameters, lr=0.1, betas=(0.9, 0.9), every=5)
    for g in gradients:
        for index, p in enumerate(parameters):
            p.grad = torch.tensor(g if stacked else g[index])
        optimizer.step()
    found = np.stack([p.detach().numpy() for p in parameters]).reshape(start.shape)
    expected = [soap_of_one_matrix(w, list(gradients[:, index]), 0.1, 0.9, 5) for index, w in enumerate(start)]
    assert np.abs(found - expected).max() < 1e-6  # noise over eps where the rotated gradient is zero


def test_vectors_and_tables_are_adams() -> None:
    """An embedding's row that no atom asked for does not move; a bias moves as under Adam."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 3)).double()
    before = net[0].weight.detach().clone()
    twin = torch.optim.Adam([b := net[1].bias.detach().clone().requires_grad_()], lr=0.01, betas=(0.95, 0.95))
    optimizer = make_optimizer(net, Recipe(optimizer="soap", lr=0.01))
    for _ in range(25):
        net(torch.tensor([1, 4])).square().sum().backward()
        b.grad = net[1].bias.grad.clone()
        optimizer.step()
        twin.step()
        optimizer.zero_grad()
    moved = (net[0].weight - before).abs().amax(1) > 0
    assert moved.nonzero().flatten().tolist() == [1, 4]
    assert torch.allclose(net[1].bias, b, rtol=1e-10)


def test_it_does_not_care_for_the_axes_of_the_weights() -> None:
    """Inputs rotated by Q and weights by Qᵀ stay so through a fit, which is what Adam's diagonal scaling breaks."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rotation = torch.linalg.qr(normal(5, 5))[0]
    x, start = normal(64, 5) * torch.logspace(0, -1, 5), normal(5, 5)
    y = torch.sin(x @ normal(5, 5))
    gaps = {}
    for name, optimizer in {"soap": Soap, "adam": torch.optim.Adam}.items():
        found = []
        for inputs, weights in ((x, start), (x @ rotation, rotation.T @ start)):
            w = nn.Parameter(weights.clone())
            rule = optimizer([w], lr=0.01)
            for _ in range(30):
                rule.zero_grad()
                (inputs @ w - y).square().mean().backward()
                rule.step()
            found.append(w.detach())
        gaps[name] = float((found[0] - rotation @ found[1]).abs().max())
    assert gaps["soap"] < 1e-6 and gaps["adam"] > 1e-2
