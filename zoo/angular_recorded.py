"""Angles for graphs that are recorded: the data of one structure decide nothing but one size, the largest degree.

Edges beyond a cut-off cannot be left out, since how many there are is in the data. They stay in the lists, take no
slot in any table, and read slot 0: every envelope makes what they read there zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.angular import Neighbourhood, Neighbourhoods

if TYPE_CHECKING:
    from zoo.graph import Graph

__all__ = ["one_table"]


def one_table(graph: Graph, cutoff: float | None) -> Neighbourhoods:
    """Neighbourhoods as one table for all atoms; its width is a size that a recorded graph finds when it runs."""
    target, num_atoms = graph.target, graph.num_nodes
    near = torch.ones_like(target) if cutoff is None else (graph.edge_len < cutoff).long()
    degree = torch.zeros_like(graph.z).index_add(0, target, near)
    width = degree.max().clamp(min=2).item()
    torch._check(width >= 2)
    slot = target * width + _rank(target, near, degree)
    nowhere = num_atoms * width
    slot = torch.where(near > 0, slot, nowhere)
    edge = torch.arange(target.shape[0], device=target.device)
    row = target.new_zeros(nowhere + 1).scatter(0, slot, edge)[:-1].view(num_atoms, width)
    used = target.new_zeros(nowhere + 1).scatter(0, slot, near)[:-1].view(num_atoms, width) > 0
    return Neighbourhoods(tables=(Neighbourhood(row=row, used=used),), edge=edge, slot=torch.where(near > 0, slot, 0))


def _rank(target: Tensor, near: Tensor, degree: Tensor) -> Tensor:
    """(E,) place of each near edge among those with its target; edges may come in any order."""
    order = torch.argsort(target, stable=True)
    first = degree.cumsum(0) - degree
    count = near.index_select(0, order).cumsum(0) - 1 - first.index_select(0, target.index_select(0, order))
    return torch.empty_like(target).scatter(0, order, count)
