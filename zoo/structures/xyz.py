"""XYZ and extended XYZ, frame by frame: a broken frame costs only itself; blank lines between frames end nothing."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import ase
from ase.data import atomic_numbers
from ase.io.extxyz import read_xyz

from zoo.errors import StructureError

__all__ = ["xyz_frames"]


def xyz_frames(text: str) -> Iterator[ase.Atoms | StructureError]:
    """Every frame of a file, or the reason why it cannot be read; ASE reads the text of each frame."""
    lines = text.splitlines(keepends=True)
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        count = _count(lines[at])
        if count is None:
            yield StructureError(f"line {at + 1} is {lines[at].strip()[:40]!r}, where a number of atoms is expected. "
                                 "Fix: begin every frame with its number of atoms on a line of its own.")
            at = _next_frame(lines, at + 1)
            continue
        end = at + 2 + count
        while end < min(at + 5 + count, len(lines)) and lines[end].lstrip().startswith("VEC"):
            end += 1
        wrong = _wrong_count(lines, at, count)
        if wrong is None:
            yield _frame(lines[at:end], at)
            at = end
        else:
            yield wrong
            at = _next_frame(lines, at + 2)


def _count(line: str) -> int | None:
    return int(line) if line.strip().isdecimal() else None


def _next_frame(lines: list[str], at: int) -> int:
    """Where the next frame begins: a number of atoms, a comment, and an atom."""
    while at < len(lines):
        if _count(lines[at]) is not None and (at + 2 >= len(lines) or len(lines[at + 2].split()) >= 4):
            return at
        at += 1
    return at


def _wrong_count(lines: list[str], at: int, count: int) -> StructureError | None:
    """An error where a frame has fewer or more atoms than its first line says."""
    atoms = lines[at + 2 : at + 2 + count]
    short = next((k for k, line in enumerate(atoms) if len(line.split()) < 2), len(atoms))
    after = at + 2 + count
    if short < count:
        return StructureError(f"line {at + 1} announces {count} atoms, and {short} follow. "
                              "Fix: correct the number, or complete the frame.")
    if after < len(lines) and len(parts := lines[after].split()) >= 4 and parts[0].capitalize() in atomic_numbers \
            and all(map(_is_number, parts[1:4])):
        return StructureError(f"line {at + 1} announces {count} atoms, and more follow. Fix: correct the number.")
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _frame(lines: list[str], at: int) -> ase.Atoms | StructureError:
    try:
        atoms = next(iter(read_xyz(io.StringIO("".join(lines)), 0)))
    except KeyError as error:
        return StructureError(_unknown(str(error.args[0]), lines, at))
    except Exception as error:  # ASE's reader raises whatever the malformed text leads it to
        return StructureError(f"frame at line {at + 1}: {error}")
    for name, value in _statements(lines[1]).items():
        flags = [key for key in atoms.info if key.lower().strip(":") == name]
        if all(isinstance(atoms.info[key], bool) for key in flags):
            for key in flags:
                del atoms.info[key]
            atoms.info[name] = value
    return atoms


def _unknown(symbol: str, lines: list[str], at: int) -> str:
    line = next((at + k + 1 for k, line in enumerate(lines[2:], 2) if symbol in line.split()), at + 1)
    letters = re.match(r"[A-Za-z]*", symbol)
    element = "H" if symbol in ("D", "T") else letters.group().capitalize() if letters else ""
    if symbol.isdecimal():
        advice = "write the symbol of the element instead of its number"
    elif element in atomic_numbers:
        advice = f"write {element}"
    else:
        advice = "write the symbol of an element"
    return f"line {line}: {symbol!r} is not the symbol of an element. Fix: {advice}."


def _statements(comment: str) -> dict[str, float]:
    """Charge and spin in the words of a comment, ``charge: -1``, which ASE takes for flags without a value."""
    if "=" in comment and "Properties=" in comment:
        return {}
    found = re.finditer(r"\b(charge|total_charge|spin|multiplicity)\b\s*[: ]\s*([+-]?\d+(?:\.\d+)?)", comment, re.I)
    return {match[1].lower(): float(match[2]) for match in found}
