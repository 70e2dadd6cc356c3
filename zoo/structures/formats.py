"""The structures of one file in any format: readers of ours where ASE's lose something, ASE's for the others."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ase
import ase.io
from ase.io.formats import UnknownFileTypeError, filetype, get_ioformat
from ase.io.gromacs import read_gromacs

from zoo.errors import StructureError
from zoo.files.unpack import unpacked
from zoo.structures.announced import check_announced
from zoo.structures.cif import cif_frames
from zoo.structures.molfile import molfile_frames
from zoo.structures.pdb import pdb_frames
from zoo.structures.xyz import xyz_frames

__all__ = ["frames_of"]

Frames = Iterator[ase.Atoms | StructureError]


def frames_of(path: Path) -> Frames:
    """Every structure of a file in order, and an error in the place of each that cannot be read.

    A name is taken as it is: ``@`` in it gives no index, as it does in ASE. Compressed files (``.xz``, ``.gz``,
    ``.bz2``) are unpacked first.
    """
    number = 0
    try:
        with unpacked(path) as plain:
            for item in _of_format(plain):
                if isinstance(item, StructureError):
                    item = _told(path, number, str(item))
                number += 1
                yield item
    except Exception as error:  # readers of many formats raise whatever they like
        reason = str(error).strip() or type(error).__name__
        yield _told(path, number, reason, rest=True)


def _told(path: Path, number: int, reason: str, *, rest: bool = False) -> StructureError:
    where = f" after {number} structures" if rest and number else ""
    which = f"structure {number} " if number and not rest else ""
    reason = reason.strip().replace("\n", " ").removesuffix(".")
    reason = "it does not follow its format" if reason in ("AssertionError", "StopIteration") else reason
    if "Fix:" not in reason:
        reason += ". Fix: check that the file is whole and in the format that its name says"
    return StructureError(f"{path}: {which}cannot be read{where}: {reason}")


def _of_format(path: Path) -> Frames:
    name = _format(path)
    check_announced(path, name)
    if name in _TEXTS:
        return _TEXTS[name](path.read_text(encoding="utf-8-sig", errors="replace"))
    if name == "cif":
        return cif_frames(path)
    if name in ("db", "json"):
        return _rows(path)
    if name == "traj":
        return _trajectory(path)
    return _by_ase(path, name)


_BY_ENDING = {".xyz": "extxyz", ".extxyz": "extxyz", ".sdf": "sdf", ".mol": "mol", ".pdb": "proteindatabank",
              ".cif": "cif", ".traj": "traj"}
"""Endings that say the format by themselves: by ASE, POSCAR-relaxed.xyz is of VASP."""


def _format(path: Path) -> str:
    if path.suffix.lower() in _BY_ENDING and path.stat().st_size:
        return _BY_ENDING[path.suffix.lower()]
    # An absolute path: ASE takes "-" for standard input and "postgres…" for a database.
    try:
        name = filetype(str(path.resolve()))
        get_ioformat(name)
    except UnknownFileTypeError as error:
        if "Empty file" in str(error):
            raise StructureError("it is empty. Fix: check that it is the right file.") from None
        ending = path.suffix or "no ending"
        raise StructureError(f"no file format is known by its name ({ending}) or its first lines. Fix: let its name "
                             "end in that of its format, such as .xyz, .cif or .sdf.") from None
    return name


def _by_ase(path: Path, name: str) -> Frames:
    stated = _STATED.get(name)
    info = {} if stated is None else stated(path.read_text(encoding="utf-8", errors="replace"))
    for atoms in ase.io.iread(str(path.resolve()), index=":", format=name, do_not_split_by_at_sign=True):
        atoms.info |= info
        yield atoms


def _trajectory(path: Path) -> Frames:
    from ase.io.trajectory import Trajectory

    with Trajectory(str(path)) as frames:
        for index in range(len(frames)):
            try:
                yield frames[index]
            except Exception as error:  # a broken frame costs only itself
                yield StructureError(str(error) or type(error).__name__)


def _rows(path: Path) -> Frames:
    """Rows of an ASE database with their key-value pairs in ``info``, where ASE's reader drops them."""
    from ase.db import connect

    with connect(str(path.resolve()), serial=True) as database:
        for row in database.select():
            try:
                atoms = row.toatoms()
                # Not row[key]: ``charge`` and others are computed there.
                atoms.info |= {key: vars(row)[key] for key in row.key_value_pairs if key in vars(row)}
                data = row.get("data") or {}
                atoms.info |= {key: data[key] for key in data if isinstance(data[key], (int, float))}
                yield atoms
            except Exception as error:  # a broken row costs only itself
                yield StructureError(str(error) or type(error).__name__)


def _gromacs(text: str) -> Frames:
    """Frames of a .gro file: a title, the number of atoms, the atoms, the box."""
    lines = text.splitlines(keepends=True)
    at = 0
    while at + 1 < len(lines):
        try:
            end = at + 3 + int(lines[at + 1])
            yield read_gromacs(io.StringIO("".join(lines[at:end])))
        except Exception as error:  # ASE's reader raises whatever the malformed text leads it to
            yield StructureError(str(error) or type(error).__name__)
            if not lines[at + 1].strip().isdecimal():
                return
            end = at + 3 + int(lines[at + 1])
        at = end


_TEXTS: Mapping[str, Callable[[str], Frames]] = {
    "extxyz": xyz_frames, "xyz": xyz_frames, "sdf": molfile_frames, "mol": molfile_frames,
    "proteindatabank": pdb_frames, "gromacs": _gromacs,
}


def _charge_and_multiplicity(pattern: str) -> Callable[[str], dict[str, Any]]:
    """Reads charge and multiplicity, the first two groups of a pattern, from input or output of a program."""
    compiled = re.compile(pattern, re.MULTILINE | re.IGNORECASE)

    def stated(text: str) -> dict[str, Any]:
        found = compiled.search(text)
        if found is None:
            return {}
        values = zip(("charge", "multiplicity"), found.groups())
        return {name: int(value) for name, value in values if value is not None}

    return stated


_STATED: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "gaussian-in": _charge_and_multiplicity(r"^[ \t]*([+-]?\d+)[ \t,]+(\d+)(?:[ \t,]+[+-]?\d+[ \t,]+\d+)*[ \t]*$"),
    "gaussian-out": _charge_and_multiplicity(r"Charge\s*=\s*([+-]?\d+)\s+Multiplicity\s*=\s*(\d+)"),
    "orca-output": _charge_and_multiplicity(r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)(?:\s+Multiplicity\s+Mult\s+"
                                            r"\.+\s+(\d+))?"),
    "nwchem-in": _charge_and_multiplicity(r"^\s*charge\s+([+-]?\d+)"),
    "nwchem-out": _charge_and_multiplicity(r"^\s*Charge\s*:\s*([+-]?\d+)(?:\s+\w.*)?$"),
    "aims-output": _charge_and_multiplicity(r"^\s*charge\s+([+-]?\d+)"),
    "espresso-in": _charge_and_multiplicity(r"^\s*tot_charge\s*=\s*([+-]?\d+)"),
    "cjson": _charge_and_multiplicity(r'"totalCharge"\s*:\s*([+-]?\d+)'),
}
"""What these formats say of charge and multiplicity, and ASE's readers drop."""
