"""The fixed signature of an exported model, and structures in its form.

    energy, forces, atomic_energies[, stress] = f(z, pos, cell, edge_index, edge_shift)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.graph.graph import Graph

__all__ = ["INPUTS", "MINIMUM", "OUTPUTS", "STRESS", "arguments", "pad"]

MINIMUM = 2
"""Smallest number of atoms and of edges that a recorded graph takes: torch treats the sizes 0 and 1 as special."""

INPUTS: dict[str, dict[str, str]] = {
    "z": {"shape": "(atoms,)", "dtype": "int64", "meaning": "atomic numbers"},
    "pos": {"shape": "(atoms, 3)", "dtype": "float64", "unit": "Å", "meaning": "positions"},
    "cell": {"shape": "(3, 3)", "dtype": "float64", "unit": "Å",
             "meaning": "rows are lattice vectors; zeros for a molecule"},
    "edge_index": {"shape": "(2, edges)", "dtype": "int64",
                   "meaning": "source j and target i of every directed edge within the cut-off, every image, both "
                              "directions, in any order; longer edges contribute nothing"},
    "edge_shift": {"shape": "(edges, 3)", "dtype": "float64",
                   "meaning": "whole-numbered lattice translations S: the edge is pos[j] + S·cell − pos[i]; zeros for "
                              "a molecule"},
}
OUTPUTS: dict[str, dict[str, str]] = {
    "energy": {"shape": "()", "dtype": "float64", "unit": "eV", "meaning": "total energy"},
    "forces": {"shape": "(atoms, 3)", "dtype": "float64", "unit": "eV/Å", "meaning": "minus its gradient"},
    "atomic_energies": {"shape": "(atoms,)", "dtype": "float64", "unit": "eV",
                        "meaning": "share of each atom, which add up to the energy"},
}
STRESS: dict[str, dict[str, str]] = {
    "stress": {"shape": "(3, 3)", "dtype": "float64", "unit": "eV/Å³",
               "meaning": "derivative of the energy by strain over the volume, positive under tension; not a number "
                          "where the cell has no volume"},
}

Arguments = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def arguments(graph: Graph) -> Arguments:
    """A graph of one structure, with edges, as the five inputs."""
    assert graph.edge_index is not None
    cell = graph.pos.new_zeros(3, 3) if graph.cell is None else graph.cell[0]
    shift = graph.pos.new_zeros(graph.num_edges, 3) if graph.edge_shift is None else graph.edge_shift
    return graph.z, graph.pos.double(), cell.double(), graph.edge_index, shift.double()


def pad(inputs: Arguments, cutoff: float) -> tuple[Arguments, int]:
    """Inputs with at least ``MINIMUM`` atoms and edges, and the number of atoms that count.

    Padding adds two atoms far from the structure and from each other: the edges between them are longer than the
    cut-off, so that they do not interact. Their own energies must be excluded from the total.
    """
    z, pos, cell, edge_index, shift = inputs
    n, n_edges = z.shape[0], edge_index.shape[1]
    if n >= MINIMUM and n_edges >= MINIMUM:
        return inputs, n
    far = torch.tensor([[4.0, 0.0, 0.0], [8.0, 0.0, 0.0]], dtype=pos.dtype, device=pos.device) * cutoff
    ends = torch.tensor([[n, n + 1], [n + 1, n]], device=z.device)
    return (
        torch.cat([z, z[:1].expand(2)]),
        torch.cat([pos, pos[:1] + far]),
        cell,
        torch.cat([edge_index, ends], 1),
        torch.cat([shift, shift.new_zeros(2, 3)]),
    ), n


def unpad(outputs: Any, n: int) -> dict[str, Tensor]:
    """Outputs by name, for the first ``n`` atoms."""
    energy, forces, atomic, *stress = outputs
    if atomic.shape[0] != n:
        energy, forces, atomic = atomic[:n].sum(), forces[:n], atomic[:n]
    named = {"energy": energy, "forces": forces, "atomic_energies": atomic}
    return named | ({"stress": stress[0]} if stress else {})
