"""SDF and MOL files (MDL V2000 and V3000): every molecule with its charge, unpaired electrons and data fields.

Written from the specification "CTfile Formats" (BIOVIA, 2020). ASE reads the first molecule only, and no charges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np
from ase.data import atomic_numbers

from zoo.errors import StructureError

__all__ = ["molfile_frames"]

_OLD_CHARGES = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}  # codes of the atom lines
_OLD_RADICAL = 4
_UNPAIRED = {1: 0, 2: 1, 3: 2}  # M  RAD: singlet, doublet, triplet
_ISOTOPES = {"D": "H", "T": "H"}


def molfile_frames(text: str) -> Iterator[ase.Atoms | StructureError]:
    """Every molecule of a file, or the reason why it cannot be read."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("$$$$"):
            blocks.append([])
        else:
            blocks[-1].append(line)
    if not any(line.strip() for line in blocks[-1]):
        del blocks[-1]  # what follows the last $$$$
    for lines in blocks:
        try:
            yield _molecule(lines)
        except StructureError as error:
            yield error
        except (ValueError, IndexError, KeyError) as error:
            yield StructureError(f"it is not a molecule in MDL format: {error}")


def _molecule(lines: list[str]) -> ase.Atoms:
    if not any(line.strip() for line in lines):
        raise StructureError("it is empty. Fix: remove the extra line $$$$.")
    if len(lines) < 4:
        raise StructureError("it ends within its head. Fix: write a title, two more lines and the line of counts.")
    counts = lines[3]
    read = _v3000 if "V3000" in counts else _v2000
    symbols, positions, charges, unpaired = read(lines)
    if not symbols:
        raise StructureError("it has no atoms. Fix: remove it, or give it atoms.")
    if lines[1][20:22] == "2D" and len(symbols) > 1 and not np.any(np.array(positions)[:, 2]):
        raise StructureError("it is a drawing in the plane (2D), without a geometry. Fix: make three-dimensional "
                             "coordinates of it, or predict its SMILES (zoo predict --smiles).")
    atoms = ase.Atoms([_element(symbol) for symbol in symbols], positions=positions)
    atoms.info |= _fields(lines)
    if any(charges):
        atoms.info["charge"] = sum(charges)
        atoms.set_initial_charges(charges)
    if any(unpaired):
        atoms.info["spin"] = sum(unpaired)
    return atoms


def _element(symbol: str) -> str:
    element = _ISOTOPES.get(symbol, symbol.capitalize())
    if element not in atomic_numbers or element == "X":
        raise StructureError(f"{symbol!r} is not the symbol of an element. Fix: replace it by an atom.")
    return element


_Parts = tuple[list[str], list[tuple[float, float, float]], list[int], list[int]]


def _v2000(lines: list[str]) -> _Parts:
    count = int(lines[3][0:3])
    rows = lines[4 : 4 + count]
    if len(rows) < count or any(row.startswith(("M  ", ">")) for row in rows):
        raise StructureError(f"it announces {count} atoms and has fewer. Fix: complete it, or correct the number.")
    symbols, positions = [], []
    charges, unpaired = [0] * count, [0] * count
    for k, row in enumerate(rows):
        x, y, z, symbol, code = _atom_line(row)
        symbols.append(symbol)
        positions.append((x, y, z))
        charges[k] = _OLD_CHARGES.get(code, 0)
        unpaired[k] = int(code == _OLD_RADICAL)
    properties = [line for line in lines[4 + count :] if line.startswith(("M  CHG", "M  RAD"))]
    if properties:  # these replace all codes of the atom lines
        charges, unpaired = [0] * count, [0] * count
    for line in properties:
        numbers = [int(part) for part in line[9:].split()]
        for atom, value in zip(numbers[::2], numbers[1::2], strict=True):
            if line.startswith("M  CHG"):
                charges[atom - 1] = value
            else:
                unpaired[atom - 1] = _UNPAIRED.get(value, 0)
    return symbols, positions, charges, unpaired


def _atom_line(row: str) -> tuple[float, float, float, str, int]:
    """Coordinates, symbol and code of the charge: by columns, or by blanks where a program did not keep these."""
    try:
        x, y, z = (float(row[k : k + 10]) for k in (0, 10, 20))
        return x, y, z, row[31:34].strip(), int(row[36:39].strip() or 0)
    except ValueError:
        parts = row.split()
        if len(parts) < 4:
            raise StructureError(f"an atom line is {row.strip()[:40]!r}. Fix: give three coordinates and a "
                                 "symbol.") from None
        x, y, z = map(float, parts[:3])
        return x, y, z, parts[3], int(parts[5]) if len(parts) > 5 else 0


def _v3000(lines: list[str]) -> _Parts:
    rows: list[str] = []
    joined = ""
    for line in lines[4:]:
        if line.startswith("M  V30 "):
            joined += line[7:].rstrip()
            if joined.endswith("-"):
                joined = joined[:-1]
                continue
            rows.append(joined)
            joined = ""
    if "BEGIN ATOM" not in rows or "END ATOM" not in rows:
        raise StructureError("it is V3000 without a block of atoms. Fix: write it anew, or as V2000.")
    symbols, positions, charges, unpaired = [], [], [], []
    for row in rows[rows.index("BEGIN ATOM") + 1 : rows.index("END ATOM")]:
        _, symbol, x, y, z, *rest = row.split()
        options = dict(part.split("=", 1) for part in rest if "=" in part)
        symbols.append(symbol)
        positions.append((float(x), float(y), float(z)))
        charges.append(int(options.get("CHG", 0)))
        unpaired.append(_UNPAIRED.get(int(options.get("RAD", 0)), 0))
    announced = next((int(row.split()[1]) for row in rows if row.startswith("COUNTS")), len(symbols))
    if announced != len(symbols):
        raise StructureError(f"it announces {announced} atoms and has {len(symbols)}. Fix: correct one of them.")
    return symbols, positions, charges, unpaired


def _fields(lines: list[str]) -> dict[str, float | str]:
    """Data fields of one line each, ``> <name>``: numbers where they are."""
    found: dict[str, float | str] = {}
    for k, line in enumerate(lines):
        name = re.match(r">.*<([^>]+)>", line)
        value = lines[k + 1].strip() if k + 1 < len(lines) else ""
        more = lines[k + 2].strip() if k + 2 < len(lines) else ""
        if name and value and not more:
            try:
                found[name[1]] = float(value)
            except ValueError:
                found[name[1]] = value
    return found
