"""A readout that no family of the zoo has: the largest of the atoms' values, made smooth."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.graph import Graph
from zoo.model.readouts import Readout
from zoo.nn import sum_by


class Peak(Readout):
    """y = (1/k) log Σ_i exp(k y_i); ``sharpness`` k stands under ``options`` of the target in a card."""

    def __init__(self, *parts: object, sharpness: float = 1.0, **head: object) -> None:
        super().__init__(*parts, **head)
        self.sharpness = sharpness

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        value = self.sharpness * self.net(self.layout.scalars(h))[:, 0]
        most = value.new_full((graph.num_graphs,), -torch.inf).scatter_reduce(0, graph.batch, value.detach(), "amax")
        total = sum_by((value - most.index_select(0, graph.batch)).exp(), graph.batch, graph.num_graphs)
        return (total.log() + most) / self.sharpness
