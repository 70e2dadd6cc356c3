"""Distorted molecules; every bond moves charge along its polarity and adds to the polarizability along itself."""

from __future__ import annotations

from pathlib import Path

import ase.build
import numpy as np

from zoo.data import Store, from_atoms


def open_bond_charges(path: Path | None) -> Store:
    frames = [ase.build.molecule(name) for name in ("H2O", "CH4", "CO2", "CH3OH") for _ in range(12)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.08, seed=seed)
        r = atoms.positions[:, None] - atoms.positions
        near = np.exp(-(r**2).sum(2)) * (1 - np.eye(len(atoms)))
        atoms.arrays["q"] = (near * (atoms.numbers - atoms.numbers[:, None])).sum(1) / 10
        atoms.info["alpha"] = np.einsum("ij,ija,ijb->ab", near, r, r) + atoms.numbers.sum() / 5 * np.eye(3)
    return from_atoms(frames, properties={"q": "q", "alpha": "alpha"}, units={"q": "e", "alpha": "Å^3"},
                      meta={"name": "bond-charges"})
