"""Structures from files, one bad file never losing the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import ase
import ase.io

from zoo.errors import StructureError, ZooError
from zoo.files.atomic_writes import keep_older, replacing
from zoo.structures.boxes import without_box
from zoo.structures.formats import frames_of

__all__ = ["Read", "read_structures", "write_structures"]


@dataclass(frozen=True)
class Read:
    """One structure that was read, or the error in its place.

    Attributes:
        label: file name, with ``#index`` where a file holds several; the path where two files have one name.
        atoms: the structure, or ``None``.
        error: why it could not be read, or ``None``.
    """

    label: str
    atoms: ase.Atoms | None
    error: StructureError | None = None


def read_structures(paths: Iterable[Path], *, pbc: bool = True) -> Iterator[Read]:
    """Every structure of every file, and an error in the place of each that cannot be read.

    Args:
        paths: files of any format of :func:`~zoo.structures.formats.frames_of`.
        pbc: ``False`` takes every cell for a box around a molecule, see :func:`~zoo.structures.boxes.without_box`.
    """
    paths = [Path(path) for path in paths]
    names = Counter(path.name for path in paths)
    for path in paths:
        for read in _read_file(path, path.name if names[path.name] == 1 else str(path)):
            yield read if pbc or read.atoms is None else _unboxed(read.label, read.atoms)


def _unboxed(label: str, atoms: ase.Atoms) -> Read:
    try:
        return Read(label, without_box(atoms))
    except StructureError as error:
        return Read(label, None, error)


def _read_file(path: Path, label: str) -> Iterator[Read]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        yield Read(label, None, StructureError(f"{path}: {what}. Fix: check the path."))
        return
    items = frames_of(path)
    first = next(items, None)
    if first is None:
        yield Read(label, None, StructureError(f"{path}: holds no structure. Fix: check that it is the right file."))
        return
    second = next(items, None)
    if second is None:
        yield _read(label, first)
        return
    for index, item in enumerate(chain((first, second), items)):
        yield _read(f"{label}#{index}", item)


def _read(label: str, item: ase.Atoms | StructureError) -> Read:
    return Read(label, None, item) if isinstance(item, StructureError) else Read(label, item)


def write_structures(path: Path, frames: Sequence[ase.Atoms]) -> None:
    """Extended XYZ; another file of that name is kept under a number. Raises ``ZooError`` if it cannot be written."""
    try:
        with keep_older(path), replacing(path) as staging:
            ase.io.write(staging, frames, format="extxyz")
    except OSError as error:
        raise ZooError(f"{path}: cannot be written: {error}. Fix: choose another --output.") from error
