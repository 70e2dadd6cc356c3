"""Pictures of molecules as structural formulas (RDKit)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import MissingExtraError, StructureError
from zoo.files.atomic_writes import keep_older, replacing

if TYPE_CHECKING:
    from rdkit.Chem import Mol

__all__ = ["DRAWN", "check_picture", "draw"]

DRAWN = 60
"""Molecules in a picture at most."""
_PANEL = 300, 260  # pixels
_ACROSS = 6


def check_picture(path: Path) -> None:
    """Raises ``StructureError`` if the ending is not one of a picture, ``MissingExtraError`` without RDKit."""
    if path.suffix.lower() not in (".png", ".svg"):
        raise StructureError(f"{path}: a picture is PNG or SVG. Fix: give a name that ends in .png or .svg.")
    if importlib.util.find_spec("rdkit") is None:
        raise MissingExtraError("drawing molecules", "smiles")


def draw(molecules: Sequence[Mol], legends: Sequence[str], path: Path) -> None:
    """Structural formulas in a grid, PNG or SVG by the ending of ``path``, which appears whole; none for no molecules.

    Raises: as :func:`check_picture`.
    """
    check_picture(path)
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    if not molecules:
        return
    flat = [rdMolDraw2D.PrepareMolForDrawing(_without_geometry(Chem.RemoveHs(one))) for one in molecules[:DRAWN]]
    across = min(_ACROSS, len(flat))
    down = -(-len(flat) // across)
    size = (across * _PANEL[0], down * _PANEL[1], *_PANEL)
    vector = path.suffix.lower() == ".svg"
    canvas = rdMolDraw2D.MolDraw2DSVG(*size) if vector else rdMolDraw2D.MolDraw2DCairo(*size)
    canvas.DrawMolecules(flat, legends=list(legends[:DRAWN]))
    canvas.FinishDrawing()
    picture = canvas.GetDrawingText()
    with keep_older(path), replacing(path) as staging:
        staging.write_bytes(picture.encode() if isinstance(picture, str) else picture)


def _without_geometry(molecule: Mol) -> Mol:
    from rdkit import Chem

    flat = Chem.Mol(molecule)
    flat.RemoveAllConformers()
    return flat
