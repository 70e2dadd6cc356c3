"""PDB files, model by model: with the box of the head, without boxes that stand for none, charges as they are given."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import ase
from ase.io.proteindatabank import read_proteindatabank

from zoo.errors import StructureError

__all__ = ["pdb_frames"]

log = logging.getLogger("zoo")

_HEAD = ("CRYST1", "ORIGX")
_ATOM = ("ATOM", "HETATM")
_SHORTEST_BOX = 2.0
"""Å; a box with a shorter edge is the CRYST1 1 1 1 of programs that write one for molecules, as the format demands."""


def pdb_frames(text: str) -> Iterator[ase.Atoms | StructureError]:
    """Every model of a file, or the reason why it cannot be read; ASE reads the text of each model."""
    head: dict[str, str] = {}
    model: list[str] = []
    for line in [*text.splitlines(keepends=True), "END\n"]:
        if line.startswith("CRYST1") and _stands_for_none(line):
            if "CRYST1" not in head:
                log.warning("%s gives no box: its edges are shorter than any; read as a molecule", line.strip()[:54])
            head["CRYST1"] = ""
        elif line.startswith(_HEAD):
            head[line[:6]] = line
        elif line.startswith(_ATOM):
            model.append(line)
        elif line.startswith("END") and model:
            yield _model(head, model)
            model = []


def _model(head: dict[str, str], model: list[str]) -> ase.Atoms | StructureError:
    if len({line[16] for line in model if len(line) > 16} - {" "}) > 1:
        return StructureError("it holds alternative positions of the same atoms (altLoc). Fix: keep one of them.")
    try:
        atoms = read_proteindatabank(io.StringIO("".join([*head.values(), *model, "END\n"])), 0)
        charge = sum(_charge(line) for line in model)
    except Exception as error:  # ASE's reader raises whatever the malformed text leads it to
        return StructureError(str(error))
    if charge:
        atoms.info["charge"] = charge
    return atoms


def _stands_for_none(line: str) -> bool:
    try:
        return min(float(line[k : k + 9]) for k in (6, 15, 24)) < _SHORTEST_BOX
    except ValueError:
        return False


def _charge(line: str) -> int:
    """Formal charge in columns 79 and 80: ``1-``, ``2+``."""
    text = line[78:80].strip()
    if not text or not text.strip("+-").isdecimal():
        return 0
    return int(text.strip("+-")) * (-1 if "-" in text else 1)
