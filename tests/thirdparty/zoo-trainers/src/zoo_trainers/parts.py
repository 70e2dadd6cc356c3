"""The parts themselves, as plain functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.graph import Graph


def charbonnier(residual: Tensor, eps: float = 0.1) -> Tensor:
    return (residual.square() + eps**2).sqrt() - eps


def sgd(groups: list[dict[str, Any]], lr: float, momentum: float = 0.9) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=lr, momentum=momentum)


def trapezoid(progress: float, step: int, until: float = 0.5) -> float:
    return min(1.0, (1.0 - progress) / (1.0 - until))


def noise(graph: Graph, generator: torch.Generator, sigma: float = 0.02) -> Graph:
    return graph.replace(pos=graph.pos + sigma * torch.randn(graph.pos.shape, generator=generator).to(graph.pos))


def within(residual: Tensor, limit: float = 0.1) -> Tensor:
    return (residual.abs() < limit).to(residual.dtype)


def good_enough(history: Sequence[Mapping[str, float]], metric: str = "loss", below: float = 0.0) -> bool:
    return history[-1][metric] < below
