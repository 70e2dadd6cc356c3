"""Edges grouped into pairs of opposite directions, and adjacency lists (CSR) for sums over neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import reverse_edges
from zoo.graph.tracing import is_traced
from zoo.nn.scatter import sum_by

__all__ = ["CSRAdjacency", "EdgeBlock", "Pairs", "edge_pairs", "pairs"]


@dataclass(frozen=True, eq=False)
class EdgeBlock:
    """Consecutive atoms of a :class:`CSRAdjacency` with all of their edges.

    Attributes:
        atoms, edges: their positions in the adjacency.
        ptr: (n + 1,) first edge of each atom, counted within the block.
        far, pair, edge: (b,) as in the adjacency.
    """

    atoms: slice
    edges: slice
    ptr: Tensor
    far: Tensor
    pair: Tensor
    edge: Tensor | None


@dataclass(frozen=True, eq=False)
class CSRAdjacency:
    """The edges of a graph sorted by the atom at one end.

    Attributes:
        ptr: (N + 1,) first edge of each atom.
        far: (E,) atom at the other end.
        pair: (E,) pair that the edge belongs to.
        edge: (E,) the edge's position in the graph, ``None`` if the order is the graph's.
    """

    ptr: Tensor
    far: Tensor
    pair: Tensor
    edge: Tensor | None
    _blocks: dict[int, list[EdgeBlock]] = field(default_factory=dict, repr=False)

    def blocks(self, size: int) -> list[EdgeBlock]:
        """All edges, in blocks of about ``size`` on a CPU; in one block on other devices."""
        if size not in self._blocks:
            self._blocks[size] = list(self._cut(size))
        return self._blocks[size]

    def _cut(self, size: int) -> list[EdgeBlock]:
        n_atoms, n_edges = self.ptr.shape[0] - 1, self.far.shape[0]
        if n_edges == 0:
            return []
        cuts, bounds = [0, n_atoms], [0, n_edges]
        if self.ptr.device.type == "cpu" and n_edges > size:
            starts = torch.searchsorted(self.ptr, torch.arange(0, n_edges, size), right=True) - 1
            cuts = [0, *starts[1:].unique_consecutive().tolist(), n_atoms]
            bounds = self.ptr[cuts].tolist()
        return [self._block(*range_) for range_ in zip(cuts[:-1], cuts[1:], bounds[:-1], bounds[1:])]

    def _block(self, atom: int, last_atom: int, edge: int, last_edge: int) -> EdgeBlock:
        return EdgeBlock(
            slice(atom, last_atom),
            slice(edge, last_edge),
            self.ptr[atom : last_atom + 1] - edge,
            self.far[edge:last_edge],
            self.pair[edge:last_edge],
            None if self.edge is None else self.edge[edge:last_edge],
        )


@dataclass(frozen=True, eq=False)
class Pairs:
    """A graph's E edges as P pairs: functions of the distance are computed once per pair, for both directions.

    In a graph where some edge lacks its reverse, every edge is its own pair: P = E.

    Attributes:
        edges: (P, 2) the two edges of each pair; (P, 1) where nothing is shared.
        source, target: (P, 2) or (P, 1), atoms j and i of these.
        incoming: edges by target, in the graph's order.
        outgoing: edges by source.
        num_atoms: N.
    """

    edges: Tensor
    source: Tensor
    target: Tensor
    incoming: CSRAdjacency
    outgoing: CSRAdjacency
    num_atoms: int

    @property
    def first(self) -> Tensor:
        """(P,) the edge that represents each pair."""
        return self.edges[:, 0]


def pairs(graph: Graph) -> Pairs:
    """The pairs of a graph's edges, made once for all graphs with these edges."""
    return graph.memoize("pairs", lambda: _make(graph), edges_only=True)


def _make(graph: Graph) -> Pairs:
    source, target = graph.source, graph.target
    count = torch.arange(source.shape[0], device=source.device)
    found = None if is_traced() else edge_pairs(graph)
    if found is None:
        # The number of pairs depends on the data, which is not allowed in a recorded graph: every edge is its own pair.
        by_source = torch.argsort(source, stable=True)
        ptr, source_ptr = _ptr(target, graph.num_nodes), _ptr(source, graph.num_nodes)
        incoming = CSRAdjacency(ptr, source, count, None)
        outgoing = CSRAdjacency(source_ptr, target[by_source], by_source, by_source)
        return Pairs(count[:, None], source[:, None], target[:, None], incoming, outgoing, graph.num_nodes)
    ptr = graph.edge_ptr
    reverse, first, pair = found
    second = reverse.index_select(0, first)
    one, other = source.index_select(0, first), target.index_select(0, first)
    # The reverses of an atom's incoming edges, in the same order, are its outgoing edges.
    incoming, outgoing = CSRAdjacency(ptr, source, pair, None), CSRAdjacency(ptr, source, pair, reverse)
    return Pairs(torch.stack([first, second], 1), torch.stack([one, other], 1), torch.stack([other, one], 1),
                 incoming, outgoing, graph.num_nodes)


def edge_pairs(graph: Graph) -> tuple[Tensor, Tensor, Tensor] | None:
    """Each edge's reverse (E,), the first edge of each pair of opposite ones (P,), and the pair of each edge (E,).

    ``None`` if some edge has no reverse, or is its own: edges from the caller may be directed or self-loops.
    """
    count = torch.arange(graph.num_edges, device=graph.device)
    reverse = _reverse_edge(graph, count)
    if reverse is None:
        return None
    leads = count < reverse
    place = leads.cumsum(0) - 1
    # Half of the edges lead a pair: known without waiting for a GPU, as nonzero would.
    half = reverse.shape[0] // 2
    first = count.new_zeros(half + 1).scatter_(0, torch.where(leads, place, half), count)[:half]
    return reverse, first, torch.where(leads, place, place.index_select(0, reverse))


def _ptr(atom: Tensor, num_atoms: int) -> Tensor:
    """(N + 1,) first edge of each atom, for edges sorted by ``atom``; not ``bincount``, which is data-dependent."""
    return F.pad(sum_by(torch.ones_like(atom), atom, num_atoms).cumsum(0), (1, 0))


def _reverse_edge(graph: Graph, count: Tensor) -> Tensor | None:
    """The reverse of each edge, or None: edges from the caller may be directed, repeated, or self-loops."""
    try:
        reverse = reverse_edges(graph)
    except StructureError:
        return None
    if graph.cutoff is not None and graph.device.type != "cpu":
        return reverse  # edges of a search: no edge is its own reverse
    in_twos = torch.equal(reverse.index_select(0, reverse), count) and not bool((reverse == count).any())
    return reverse if in_twos else None
