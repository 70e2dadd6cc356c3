"""Whether a model can take a structure: elements, periodicity, inputs, coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase.data
import numpy as np
import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.graph.cells import check_cell
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors
from zoo.model.model import Model

__all__ = ["MIN_DISTANCE", "Scope", "check_distances", "check_finite", "check_geometry", "check_structure",
           "closest_allowed", "too_close"]

MIN_DISTANCE = 0.1
"""Å; no two nuclei of any data set are this close."""

_CLOSEST = 0.3
"""Share of the sum of two covalent radii; scans press bonds to 0.4 of their length, and nothing comes closer."""
_RADII = torch.from_numpy(ase.data.covalent_radii)
_NAMED = 5  # largest number of atoms listed in a message


@dataclass(frozen=True)
class Scope:
    """Which structures a model takes, whether it runs in the zoo or was exported.

    Attributes:
        name: of the model, for messages.
        elements: atomic numbers.
        inputs: further inputs that it reads, such as ``charge``.
        pbc: whether it was made for periodic structures.
    """

    name: str
    elements: tuple[int, ...]
    inputs: tuple[str, ...] = ()
    pbc: bool = True

    @classmethod
    def of(cls, model: Model) -> Scope:
        card = model.card
        return cls("this model" if card is None else card.name, model.elements,
                   () if card is None else tuple(card.inputs), model.knows_crystals)


def check_structure(scope: Scope, graph: Graph, name: str) -> None:
    """Raise an error if a structure is outside the model's domain; the message names the atoms.

    Raises:
        StructureError: no atoms, a position or cell that is not finite, a missing input, a charge or spin that the
            model does not read, an unknown element, periodicity, or two atoms closer
            than ``MIN_DISTANCE`` or than 0.3 of the sum of their covalent radii.
    """
    if graph.num_nodes == 0:
        raise StructureError(f"{name} is empty: it has no atoms. Fix: remove it, or give it atoms.")
    check_geometry(graph, name)
    _check_inputs(scope, graph, name)
    _check_elements(scope, graph, name)
    if graph.pbc is not None and bool(graph.pbc.any()) and not scope.pbc:
        raise StructureError(f"{name} is periodic, and {scope.name} was made for molecules. "
                             "Fix: set atoms.pbc = False (--no-pbc) if the cell is only a box around a molecule.")
    check_distances(graph, name)


def check_geometry(graph: Graph, name: str) -> None:
    """Raise ``StructureError`` if positions are not finite or a cell does not span its periodic directions."""
    broken = torch.nonzero(~graph.pos.isfinite().all(1))[:, 0].tolist()
    if broken:
        raise StructureError(f"{name}: positions of atom {_list(broken)} are not finite. "
                             "Fix: correct these coordinates in the input; in a simulation, use a shorter timestep.")
    if graph.cell is not None and graph.pbc is not None:
        for cell, pbc in zip(graph.cell.detach().cpu().numpy(), graph.pbc.cpu().numpy()):
            check_cell(cell, pbc, name)


def _check_inputs(scope: Scope, graph: Graph, name: str) -> None:
    for field in scope.inputs:
        if getattr(graph, field) is None:
            raise StructureError(f"{name} lacks the input '{field}' that the model's card declares. "
                                 f"Fix: set '{field}' on the structure.")
    for field in ("charge", "spin"):
        value = getattr(graph, field)
        if field not in scope.inputs and value is not None and bool((value != 0).any()):
            raise StructureError(f"{name} has {field} {float(value[0]):g}, and this model knows neutral closed-shell "
                                 f"structures only: its card declares no input '{field}'. "
                                 f"Fix: choose a model that reads '{field}', or remove it from the structure.")


def _check_elements(scope: Scope, graph: Graph, name: str) -> None:
    z = graph.z.tolist()
    unknown = [i for i, number in enumerate(z) if number not in scope.elements]
    if unknown:
        symbols = sorted({_symbol(z[i]) for i in unknown})
        known = ", ".join(_symbol(number) for number in scope.elements)
        raise StructureError(f"{name}: {', '.join(symbols)} (atom {_list(unknown)}) is outside the domain of the "
                             f"model, which knows {known}. "
                             "Fix: choose a model that was trained on these elements (zoo list).")


def _symbol(number: int) -> str:
    return ase.data.chemical_symbols[number] if 0 <= number < len(ase.data.chemical_symbols) else f"Z={number}"


def closest_allowed(z: Tensor) -> float:
    """Å; two of these atoms further apart than this are never too close."""
    radii = _RADII.to(z.device).index_select(0, z.clamp(0, len(_RADII) - 1))
    return max(MIN_DISTANCE, 2 * _CLOSEST * float(radii.max())) if len(z) else MIN_DISTANCE


def too_close(graph: Graph) -> tuple[Tensor, Tensor]:
    """Edges (K,) between atoms that are closer than any atoms come, and the lengths (E,) of all edges in Å.

    The graph has all edges up to :func:`closest_allowed`.
    """
    with torch.no_grad():
        radii = _RADII.to(graph.device).index_select(0, graph.z.clamp(0, len(_RADII) - 1))
        distance = edge_vectors(graph, graph.pos, graph.cell).double().norm(dim=1)
        allowed = (_CLOSEST * (radii[graph.source] + radii[graph.target])).clamp(min=MIN_DISTANCE)
    return torch.nonzero(distance < allowed)[:, 0], distance


def check_distances(graph: Graph, name: str) -> None:
    """Raise ``StructureError`` if two atoms are closer than ``MIN_DISTANCE`` or 0.3 of the sum of their radii."""
    reach = closest_allowed(graph.z)
    if graph.edge_index is None or graph.cutoff is None or graph.cutoff < reach:
        graph = add_edges(graph.replace(edge_index=None, edge_attrs=None), reach)
    close, distance = too_close(graph)
    if len(close):
        k = int(close[distance[close].argmin()])
        i, j = sorted((int(graph.source[k]), int(graph.target[k])))
        raise StructureError(f"{name}: atoms {i} and {j} are {float(distance[k]):.2f} Å apart, which is "
                             "closer than any atoms come. Fix: remove one of them if the same atom is listed twice; "
                             "give positions in Å, not nm.")


def check_finite(values: Mapping[str, Any], name: str) -> None:
    """Raise an error if a result is not a number.

    Args:
        values: target or derivative → what the model gave for it.

    Raises:
        StructureError: one is infinite or NaN.
    """
    for key, value in values.items():
        if not np.isfinite(value).all():
            raise StructureError(f"{name}: the model gives no finite {key} for it. Fix: check its geometry; "
                                 "atoms that are too close, or positions in another unit than Å, lead to this.")


def _list(indices: Sequence[int]) -> str:
    more = f" and {len(indices) - _NAMED} more" if len(indices) > _NAMED else ""
    return ", ".join(map(str, indices[:_NAMED])) + more
