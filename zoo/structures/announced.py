"""How many atoms a file announces, before a reader takes memory for them or counts to that number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from zoo.errors import StructureError

__all__ = ["check_announced"]

_HEAD = 200  # lines in which a format announces its atoms
_WIDEST = 10_000  # characters of a line that are looked at
_ARRAY = re.compile(r'"__ndarray__"\s*:\s*\[\s*\[([\d\s,]+)\]')
_PARTICLES = re.compile(r"Number of particles\s*=\s*(\d+)")
_DUMPED = re.compile(r"ITEM: NUMBER OF ATOMS")
_PRIMITIVE = re.compile(r"\s*(?:PRIM|CONV)COORD")


def check_announced(path: Path, format: str) -> None:
    """Refuse a text file that announces more atoms, or numbers, than it has bytes.

    Args:
        format: ASE's name of the format.

    Raises:
        StructureError: says how many are announced.
    """
    # Not among them: xyz, Gromacs and molfiles, whose readers are ours and compare what is announced with what follows.
    announced = _ANNOUNCED.get(format)
    if announced is None:
        return
    size = path.stat().st_size
    with path.open(encoding="utf-8", errors="replace") as file:
        for count in announced(line[:_WIDEST] for line in iter(lambda: file.readline(_WIDEST), "")):
            if count > size:
                raise StructureError(f"it announces {count:,} atoms or numbers and has {size:,} bytes. "
                                     "Fix: check that the file is whole and in the format that its name says.")


Lines = Iterator[str]


def _number(text: str) -> int:
    """The whole number at the start of a line; 0 if there is none. One too long for Python counts as too many."""
    match = re.match(r"\s*(\d{1,40})", text)
    return int(match[1]) if match else 0


def _line(number: int) -> Callable[[Lines], Iterator[int]]:
    return lambda lines: map(_number, islice(lines, number, number + 1))


def _after(mark: re.Pattern[str]) -> Callable[[Lines], Iterator[int]]:
    """The number on each line that follows a mark."""
    def counts(lines: Lines) -> Iterator[int]:
        for line in lines:
            if mark.match(line):
                yield _number(next(lines, ""))
    return counts


def _vasp(lines: Lines) -> Iterator[int]:
    # Symbols stand on the line above the counts, or are missing.
    for line in islice(lines, 5, 7):
        words = line.split("!")[0].split()
        yield sum(int(word) for word in words if re.fullmatch(r"\d{1,40}", word))


def _cube(lines: Lines) -> Iterator[int]:
    head = [_number(line.replace("-", "", 1)) for line in islice(lines, 2, 6)]
    yield max(head[:1], default=0)
    points = 1
    for count in head[1:]:
        points *= count
    yield points


def _particles(lines: Lines) -> Iterator[int]:
    for line in islice(lines, _HEAD):
        if match := _PARTICLES.match(line):
            yield int(match[1][:40])


def _arrays(lines: Lines) -> Iterator[int]:
    for line in lines:
        for shape in _ARRAY.findall(line):
            count = 1
            for length in shape.split(","):
                count *= int(length.strip()[:40] or 1)
            yield count


_ANNOUNCED: Mapping[str, Callable[[Lines], Iterator[int]]] = {
    "vasp": _vasp,
    "gen": _line(0),
    "cube": _cube,
    "cfg": _particles,
    "xsf": _after(_PRIMITIVE),
    "lammps-dump-text": _after(_DUMPED),
    "json": _arrays,
}
