"""A Verlet list: edges up to cut-off + skin, reused for many steps of a simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors

__all__ = ["VerletList"]


@dataclass
class _Known:
    """Positions and cells at the last neighbour search, and its edges up to cut-off + skin."""

    pos: Tensor
    ptr: Tensor
    cell: Tensor | None
    pbc: Tensor | None
    edge_index: Tensor | None
    edge_shift: Tensor | None
    near: Tensor | None = None  # which of the edges were within the cut-off in the last step
    last: Graph | None = None  # the graph with these edges


class VerletList:
    """Edges within ``cutoff`` of a moving batch; searched anew when an atom has moved by half the skin.

    The edges are exactly those of :func:`zoo.graph.neighbors.add_edges`, in the same order, whatever the skin.

    Args:
        cutoff: Å.
        skin: Å beyond the cut-off; 0 searches every time.

    Raises:
        ZooError: the skin is negative or not finite, and edges would be missing.

    Attributes:
        searches: number of neighbour searches.
        shortest: Å, the shortest edge of the last graph; infinite if it had none.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not 0 <= skin < math.inf:
            raise ZooError(f"the skin of a neighbor list is {skin} Å. Fix: give a number from 0 on, such as 0.5.")
        self.cutoff = cutoff
        self.skin = skin
        self.searches = 0
        self.shortest = math.inf
        self._known: _Known | None = None

    def edges(self, graph: Graph) -> Graph:
        """The graph with its edges. Raises as :func:`zoo.graph.neighbors.add_edges`."""
        known = self._known
        if known is None or not self._still_good(known, graph):
            wide = add_edges(graph, self.cutoff + self.skin)
            # A copy, since callers may move the atoms in place.
            pos = graph.pos.detach().clone()
            known = _Known(pos, graph.ptr, _copy(graph.cell), graph.pbc, wide.edge_index, wide.edge_shift)
            self._known = known
            self.searches += 1
        graph = graph.replace(edge_index=known.edge_index, edge_shift=known.edge_shift, cutoff=self.cutoff)
        with torch.no_grad():
            squared = edge_vectors(graph, graph.pos, graph.cell).square().sum(1)
        self.shortest = float(squared.min()) ** 0.5 if len(squared) else math.inf
        if self.skin == 0:
            return graph
        assert known.edge_index is not None
        near = squared < self.cutoff**2
        if known.last is None or known.near is None or not torch.equal(near, known.near):
            shift = None if known.edge_shift is None else known.edge_shift[near]
            last = graph.replace(pos=graph.pos.detach(), edge_index=known.edge_index[:, near], edge_shift=shift)
            known.near, known.last = near, last
        # If the edges are those of the last step, reuse all quantities cached for them.
        return graph.with_edges_of(known.last)

    def _still_good(self, known: _Known, graph: Graph) -> bool:
        if self.skin == 0 or not torch.equal(known.ptr, graph.ptr):
            return False
        for mine, yours in ((known.cell, graph.cell), (known.pbc, graph.pbc)):
            if mine is None or yours is None:
                if mine is not yours:
                    return False
            elif not torch.equal(mine, yours):
                return False
        # The square avoids a root; NaN compares false, so that invalid positions lead to a new search.
        moved = (graph.pos.detach() - known.pos).square().sum(1)
        return bool((moved < (self.skin / 2) ** 2).all())


def _copy(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.detach().clone()
