"""Structures of any accepted kind (ASE, torch-geometric, Graph, SMILES) as one float64 Graph each."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import ase
import numpy as np
import torch

from zoo.errors import StructureError
from zoo.graph.form import check_form
from zoo.graph.graph import Graph
from zoo.model.checks import Scope
from zoo.structures.smiles import Species, embed
from zoo.structures.stated import CHARGES, UNPAIRED, check_statements, has_moments

__all__ = ["graphs_or_errors", "species_of", "to_graph", "to_graphs"]

log = logging.getLogger("zoo")


def to_graphs(scope: Scope, structures: Any) -> tuple[bool, list[Graph]]:
    """Structures of any accepted kind as graphs.

    Args:
        structures: as for :func:`zoo.inference.prediction.predict`.
        name: what errors call a single structure.

    Returns:
        Whether one structure was given (and not a list), and one float64 Graph on the CPU per structure.

    Raises:
        StructureError: an object of another type, an input declared in the card that is missing, a SMILES of no
            molecule that the model knows, or what :func:`zoo.structures.stated.check_statements` rejects.
        MissingExtraError: a SMILES, and RDKit is not installed.
    """
    single, found = graphs_or_errors(scope, structures)
    graphs = []
    for graph in found:
        if isinstance(graph, StructureError):
            raise graph
        graphs.append(graph)
    return single, graphs


def graphs_or_errors(scope: Scope, structures: Any) -> tuple[bool, list[Graph | StructureError]]:
    """As :func:`to_graphs`, with an error in the place of each structure that has one."""
    if not isinstance(structures, (list, tuple)):
        graphs = _tried(scope, structures, "the structure")
        is_pyg_batch = not isinstance(structures, Graph) and hasattr(structures, "ptr")
        return len(graphs) == 1 and not is_pyg_batch, graphs
    found: list[Graph | StructureError] = []
    for item in structures:
        found += _tried(scope, item, f"structure {len(found)}" if len(structures) > 1 else "the structure")
    return False, found


def species_of(scope: Scope) -> Species:
    """Which molecules a model takes."""
    return Species(scope.name, scope.elements, scope.inputs)


def to_graph(scope: Scope, atoms: ase.Atoms, name: str = "the structure") -> Graph:
    """One ASE structure as a float64 Graph on the CPU, without edges; raises as :func:`to_graphs`.

    The log says, once for each model, that it reads no magnetic moments.
    """
    check_statements(atoms, scope.inputs, name)
    if has_moments(atoms) and not {"spin", "initial_magmoms"} & set(scope.inputs):
        _say_that_moments_are_not_read(scope.name)
    return Graph.from_atoms(atoms, dtype=torch.float64, inputs=scope.inputs)


@functools.cache
def _say_that_moments_are_not_read(model: str) -> None:
    log.warning("%s reads no magnetic moments: structures that differ in them alone have one energy", model)


def _tried(scope: Scope, item: Any, name: str) -> list[Graph | StructureError]:
    try:
        if isinstance(item, str):
            item = embed(item, species=species_of(scope), keep=1).atoms()
        return [*_one(item, scope, name)]
    except StructureError as error:
        text = str(error)  # Graph.from_atoms knows one structure only
        first = next((k for k in ("structure 0", "the structure") if text.startswith(k)), None)
        problem = text if first is None else name + text.removeprefix(first)
        return [StructureError(problem)]


def _one(item: Any, scope: Scope, name: str) -> list[Graph]:
    if isinstance(item, ase.Atoms):
        return [to_graph(scope, item, name)]
    if isinstance(item, Graph):
        check_form(item)
        return _separate(_plain(item))
    if hasattr(item, "pos") and hasattr(item, "keys"):
        graph = Graph.from_data(item, inputs=scope.inputs)
        check_form(graph)
        return _separate(_plain(_with_undeclared(graph, item, scope.inputs)))
    raise StructureError(f"cannot read a structure from {type(item).__name__}. "
                         "Fix: give ase.Atoms, zoo.Graph, torch_geometric Data, a SMILES, or a list of these.")


def _plain(graph: Graph) -> Graph:
    """On the CPU, in float64 and without autograd history."""
    graph = graph.replace(pos=graph.pos.double()).to("cpu", torch.float64)
    return graph.replace(**{f.name: value.detach() for f in fields(graph)
                            if isinstance(value := getattr(graph, f.name), torch.Tensor) and value.requires_grad})


def _separate(graph: Graph) -> list[Graph]:
    """The structures of a batch. Edges that the caller gave (no cut-off known) are kept, others are found again."""
    if graph.cutoff is not None:
        graph = graph.replace(edge_index=None, edge_shift=None, edge_attrs=None, cutoff=None)
    return list(graph.structures())


def _with_undeclared(graph: Graph, holder: Any, inputs: Sequence[str]) -> Graph:
    """The graph with a charge or spin that the model does not read, so that :func:`check_structure` rejects it."""
    for field, names in (("charge", CHARGES), ("spin", UNPAIRED)):
        if field in inputs:
            continue
        values = [holder[name] for name in names if name in holder and np.size(holder[name]) == graph.num_graphs]
        for given in values:
            value = torch.as_tensor(np.asarray(given, dtype=np.float64).reshape(-1)).to(graph.pos)
            if getattr(graph, field) is None or bool((value != 0).any()):
                graph = graph.replace(**{field: value})
    return graph
