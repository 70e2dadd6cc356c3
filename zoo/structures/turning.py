"""Structures that turn in a notebook, with py3Dmol."""

from __future__ import annotations

import importlib.util
import io
from typing import Any

import ase
import ase.io

from zoo.errors import MissingExtraError, StructureError

__all__ = ["has_viewer", "turning_view"]


def has_viewer() -> bool:
    """Whether py3Dmol is installed."""
    return importlib.util.find_spec("py3Dmol") is not None


def turning_view(structures: Any, *, size: tuple[int, int] = (420, 300)) -> Any:
    """A view that the mouse turns; several structures, such as the frames of a trajectory, are played as a film.

    The browser fetches 3Dmol.js from the address that py3Dmol names; without a network the view says that it failed.

    Args:
        structures: an ``ase.Atoms``, or a sequence of them.
        size: width and height in pixels.

    Returns:
        A ``py3Dmol.view``, which a notebook shows by itself.

    Raises:
        MissingExtraError: py3Dmol is not installed.
        StructureError: there is no structure, or something else than ``ase.Atoms``.
    """
    frames = [structures] if isinstance(structures, ase.Atoms) else list(structures)
    if not frames or not all(isinstance(atoms, ase.Atoms) for atoms in frames):
        raise StructureError("there is no structure to show. Fix: give an ase.Atoms, or a list of them.")
    if not has_viewer():
        raise MissingExtraError("a structure that turns", "notebook")
    import py3Dmol

    view = py3Dmol.view(width=size[0], height=size[1])
    if len(frames) > 1:
        view.addModelsAsFrames("".join(_text(atoms, "xyz") for atoms in frames), "xyz")
        view.animate({"loop": "forward"})
    elif frames[0].pbc.all():
        view.addModel(_text(frames[0], "cif"), "cif")
        view.addUnitCell()
    else:
        view.addModel(_text(frames[0], "xyz"), "xyz")
    view.setStyle({"stick": {"radius": 0.12}, "sphere": {"scale": 0.25}})
    view.zoomTo()
    return view


def _text(atoms: ase.Atoms, form: str) -> str:
    """The bare structure: no calculator, names or other text of the file it came from."""
    bare = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    out = io.BytesIO() if form == "cif" else io.StringIO()
    ase.io.write(out, bare, format=form)
    found = out.getvalue()
    return found.decode() if isinstance(found, bytes) else found
