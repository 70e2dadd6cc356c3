"""Whether the tensors of a graph fit together; a mismatch would give a number of another structure, or a crash."""

from __future__ import annotations

import torch

from zoo.errors import StructureError
from zoo.graph.graph import Graph

__all__ = ["check_form"]


def check_form(graph: Graph) -> None:
    """Refuse a graph that was put together wrongly.

    Raises:
        StructureError: shapes that differ from those in :class:`~zoo.graph.graph.Graph`, a ``ptr`` or ``batch`` that
            does not count the atoms, or edges to atoms that are not there or between structures.
    """
    n, b = graph.num_nodes, graph.num_graphs
    expected = {"z": (n,), "pos": (n, 3), "batch": (n,), "cell": (b, 3, 3), "pbc": (b, 3), "charge": (b,),
                "spin": (b,)}
    for name, shape in expected.items():
        value = getattr(graph, name)
        if value is not None and tuple(value.shape) != shape:
            raise _wrong(f"{name} has shape {tuple(value.shape)} where {n} atomic numbers in {b} structures ask for "
                         f"{shape}")
    for name in ("node_attrs", "node_vectors"):
        value = getattr(graph, name)
        if value is not None and len(value) != n:
            raise _wrong(f"{name} has {len(value)} rows for {n} atoms")
    counts = graph.ptr.diff()
    if int(graph.ptr[0]) != 0 or int(graph.ptr[-1]) != n or bool((counts < 0).any()):
        raise _wrong(f"ptr is {graph.ptr.tolist()[:6]}, and there are {n} atoms")
    own = torch.repeat_interleave(torch.arange(b, device=counts.device), counts)
    if not torch.equal(graph.batch.to(own), own):
        raise _wrong("batch does not fit ptr, which says how many atoms each structure has")
    if graph.edge_index is not None:
        _check_edges(graph)


def _check_edges(graph: Graph) -> None:
    edges = graph.edge_index
    assert edges is not None
    if edges.dim() != 2 or len(edges) != 2 or edges.is_floating_point() or edges.dtype == torch.bool:
        raise _wrong(f"edge_index has shape {tuple(edges.shape)} and type {edges.dtype}; edges are (2, E) "
                     "whole numbers")
    if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < graph.num_nodes:
        raise _wrong(f"edge_index names atom {int(edges.max() if edges.min() >= 0 else edges.min())} of "
                     f"{graph.num_nodes}, counted from 0")
    ends = graph.batch[edges.long()]
    if not torch.equal(ends[0], ends[1]):
        raise _wrong("an edge joins atoms of two structures")
    for name, width in (("edge_shift", 3), ("edge_attrs", None)):
        value = getattr(graph, name)
        if value is not None and (len(value) != edges.shape[1] or width not in (None, value.shape[-1])):
            raise _wrong(f"{name} has shape {tuple(value.shape)} for {edges.shape[1]} edges")


def _wrong(problem: str) -> StructureError:
    return StructureError(f"the graph is put together wrongly: {problem}. Fix: make it with Graph.from_atoms, "
                          "Graph.from_data or Graph.from_tensors(z, pos, n_atoms=...).")
