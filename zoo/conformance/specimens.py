"""The structures for the checks, with elements of the model's domain."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import ase.build
import numpy as np
import torch
from ase.data import chemical_symbols

from zoo.graph.graph import Graph

__all__ = ["crystal", "many_neighbors", "mixed", "molecule", "single_atom", "symmetric_sites",
           "traveller"]

_PREFERRED = (6, 1, 8, 7, 9)


def molecule(elements: Sequence[int]) -> ase.Atoms:
    """Ethanol, slightly distorted to remove symmetry; elements outside the domain are replaced."""
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.05, seed=3)
    return _translated(atoms, elements)


def single_atom(elements: Sequence[int]) -> ase.Atoms:
    """One atom of the preferred element."""
    return ase.Atoms([_usable(elements)[0]], positions=[[0.3, -0.2, 0.1]])


def mixed(elements: Sequence[int]) -> list[ase.Atoms]:
    """Molecules of different sizes, including a single atom."""
    made = [ase.build.molecule(name) for name in ("H2CO", "CH3CH2OH", "H", "N2", "NH3")]
    for number, atoms in enumerate(made):
        atoms.rattle(0.05, seed=number)
    return [_translated(atoms, elements) for atoms in made]


def crystal(elements: Sequence[int]) -> ase.Atoms:
    """Two atoms in a distorted diamond cell with edges shorter than most cut-offs."""
    atoms = ase.build.bulk("Si")
    atoms.rattle(0.08, seed=2)
    usable = _usable(elements)
    atoms.numbers[:] = [usable[0], usable[-1 if len(usable) < 3 else 2]]
    return atoms


def symmetric_sites(elements: Sequence[int]) -> dict[str, ase.Atoms]:
    """Methane and diamond, where the directions to the neighbours of the first atom sum to exactly zero."""
    diamond = ase.build.bulk("Si")
    diamond.numbers[:] = _usable(elements)[0]
    return {"molecule": _translated(ase.build.molecule("CH4"), elements), "crystal": diamond}


def many_neighbors(elements: Sequence[int], cutoff: float, count: int = 64) -> Graph:
    """A central atom with ``count`` edges and no other edges, to find a cap on the number of neighbours."""
    golden_angle = np.pi * (3 - np.sqrt(5))
    height = np.linspace(1, -1, count + 2)[1:-1]
    radius = np.sqrt(1 - height**2)
    turn = golden_angle * np.arange(count)
    directions = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], 1)
    lengths = np.linspace(0.35, 0.8, count)[np.random.default_rng(0).permutation(count)] * cutoff
    pos = np.concatenate([np.zeros((1, 3)), directions * lengths[:, None]])
    usable = _usable(elements)
    z = torch.tensor([usable[0]] + [usable[-1]] * count)
    leaves = torch.arange(1, count + 1)
    centre = torch.zeros_like(leaves)
    edges = torch.stack([torch.cat([leaves, centre]), torch.cat([centre, leaves])])
    return Graph.from_tensors(z, torch.from_numpy(pos)).with_edges(edges)


def traveller(elements: Sequence[int], distances: Sequence[float]) -> list[ase.Atoms]:
    """Formaldehyde and one more atom at given distances (Å) from the first atom, on a line away from the others."""
    base = ase.build.molecule("H2CO")
    base.rattle(0.05, seed=5)
    base = _translated(base, elements)
    axis = np.array([0.61, 0.53, 0.59])
    axis /= np.linalg.norm(axis)
    return [base + ase.Atoms([_usable(elements)[0]], positions=[base.positions[0] + d * axis]) for d in distances]


def _usable(elements: Sequence[int]) -> list[int]:
    chosen = [z for z in _PREFERRED if z in elements]
    return chosen or list(elements)[:5]


def _translated(atoms: ase.Atoms, elements: Sequence[int]) -> ase.Atoms:
    """The structure with each element outside the domain replaced by one of the domain."""
    usable = _usable(elements)
    strange = sorted({z for z in atoms.numbers.tolist() if z not in elements})
    place = {z: usable[k % len(usable)] for k, z in enumerate(strange)}
    atoms = ase.Atoms([chemical_symbols[place.get(z, z)] for z in atoms.numbers.tolist()], positions=atoms.positions)
    return atoms
