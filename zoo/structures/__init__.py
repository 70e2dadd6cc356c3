"""Structures from files and SMILES, and back into files.

Start with ``reading.py`` (files) and ``smiles.py`` (one molecule from its SMILES with its conformers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.structures.reading import read_structures, write_structures
    from zoo.structures.smiles import from_smiles
    from zoo.structures.turning import turning_view

__all__ = ["from_smiles", "read_structures", "turning_view", "write_structures"]

__getattr__ = lazy_names(__name__, {
    "from_smiles": "smiles", "read_structures": "reading", "turning_view": "turning",
    "write_structures": "reading",
})
