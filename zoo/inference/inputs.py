"""Structures of any accepted kind (ASE, torch-geometric, Graph) as one float64 Graph each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
import torch

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.model.model import Model

__all__ = ["to_graphs"]


def to_graphs(model: Model, structures: Any) -> tuple[bool, list[Graph]]:
    """Structures of any accepted kind as graphs.

    Args:
        structures: as for :func:`zoo.inference.prediction.predict`.

    Returns:
        Whether one structure was given (and not a list), and one float64 Graph on the CPU per structure.

    Raises:
        StructureError: an object of another type, or an input declared in the card is missing.
    """
    inputs = () if model.card is None else tuple(model.card.inputs)
    if isinstance(structures, (list, tuple)):
        return False, [g for item in structures for g in _one(item, inputs)]
    graphs = _one(structures, inputs)
    is_pyg_batch = not isinstance(structures, Graph) and hasattr(structures, "ptr")
    return len(graphs) == 1 and not is_pyg_batch, graphs


def _one(item: Any, inputs: Sequence[str]) -> list[Graph]:
    if isinstance(item, ase.Atoms):
        graph = Graph.from_atoms(item, dtype=torch.float64, inputs=inputs)
        return [_with_undeclared(graph, item.info, inputs)]
    if isinstance(item, Graph):
        return _separate(item.to("cpu", torch.float64))
    if hasattr(item, "pos") and hasattr(item, "keys"):
        graph = Graph.from_data(item, inputs=inputs)
        return _separate(_with_undeclared(graph, item, inputs).to("cpu", torch.float64))
    raise StructureError(f"cannot read a structure from {type(item).__name__}. "
                         "Fix: give ase.Atoms, zoo.Graph, torch_geometric Data, or a list of these.")


def _separate(graph: Graph) -> list[Graph]:
    """The structures of a batch. Edges that the caller gave (no cut-off known) are kept, others are found again."""
    if graph.cutoff is not None:
        graph = graph.replace(edge_index=None, edge_shift=None, edge_attrs=None, cutoff=None)
    return list(graph.structures())


def _with_undeclared(graph: Graph, holder: Any, inputs: Sequence[str]) -> Graph:
    """The graph with a charge or spin that the model does not read, so that :func:`check_structure` rejects it."""
    for name in ("charge", "spin"):
        if name not in inputs and name in holder and np.size(holder[name]) == graph.num_graphs:
            value = torch.as_tensor(np.asarray(holder[name], dtype=np.float64).reshape(-1)).to(graph.pos)
            graph = graph.replace(**{name: value})
    return graph
