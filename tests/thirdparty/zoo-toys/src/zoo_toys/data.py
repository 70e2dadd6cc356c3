"""Hydrogen, nitrogen and carbon monoxide at many bond lengths, with Morse's energy of the bond."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np

from zoo.data import Store, from_atoms

MOLECULES = {"H2": (4.75, 1.94, 0.741), "N2": (9.91, 2.69, 1.098), "CO": (11.2, 2.30, 1.128)}
"""Depth in eV, width in 1/Å, length of the bond in Å."""


def open_morse(path: Path | None) -> Store:
    """``path``, if given, holds one bond length (as a multiple of the equilibrium's) a line."""
    stretches = np.linspace(0.8, 1.6, 40) if path is None else np.loadtxt(path, ndmin=1)
    frames = []
    for name, (depth, width, length) in MOLECULES.items():
        for stretch in stretches:
            atoms = ase.Atoms(name, positions=[[0, 0, 0], [0, 0, stretch * length]])
            atoms.info["energy"] = depth * ((1 - np.exp(-width * length * (stretch - 1))) ** 2 - 1)
            atoms.info["level"] = depth / stretch
            frames.append(atoms)
    keys = {"energy": "energy", "level": "level"}
    return from_atoms(frames, properties=keys, units={"energy": "eV", "level": "eV"}, meta={"name": "morse"})
