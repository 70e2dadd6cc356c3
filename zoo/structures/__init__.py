"""Structures from files and SMILES, and back into files.

Start with ``reading.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo import lazy_names

if TYPE_CHECKING:
    from zoo.structures.reading import from_smiles, read_structures, write_structures

__all__ = ["from_smiles", "read_structures", "write_structures"]

__getattr__ = lazy_names(__name__, {
    "from_smiles": "reading", "read_structures": "reading", "write_structures": "reading",
})
