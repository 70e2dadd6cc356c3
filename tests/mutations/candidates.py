"""Mutations of the source: single edits that a test should notice, collected from the syntax trees of all files.

Kinds: ``sign`` (+ and − exchanged, a leading − removed), ``unit`` (a factor changed), ``index`` (an index or the bound
of a slice shifted by one), ``comparison`` (a boundary moved, a direction reversed, == negated) and ``call`` (a call
whose result is not used is left out).
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KINDS", "Mutation", "collect", "draw", "mutations_of", "room_of"]

KINDS = ("sign", "unit", "index", "comparison", "call")
_ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+")}
_COMPARISONS = {ast.Lt: ("<", ("<=", ">")), ast.LtE: ("<=", ("<", ">=")), ast.Gt: (">", (">=", "<")),
                ast.GtE: (">=", (">", "<=")), ast.Eq: ("==", ("!=",)), ast.NotEq: ("!=", ("==",))}


@dataclass(frozen=True)
class Mutation:
    """One edit: characters ``start`` to ``end`` of a file are replaced by ``new``.

    Attributes:
        path: relative to the root of the repository.
        line: line number, from 1.
        old, new: text before and after.
    """

    path: str
    line: int
    kind: str
    start: int
    end: int
    old: str
    new: str

    @property
    def room(self) -> str:
        return room_of(self.path)

    @property
    def key(self) -> str:
        """Identifies the mutation as long as the file up to it is unchanged."""
        return f"{self.path}:{self.line}:{self.start}:{self.new}"

    def apply(self, source: str) -> str:
        if source[self.start : self.end] != self.old:
            raise ValueError(f"{self.path}:{self.line} has changed. Fix: draw the mutations again")
        return source[: self.start] + self.new + source[self.end :]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.kind}: {old if len(old) < 50 else old[:49] + '…'} → {new}"


def room_of(path: str) -> str:
    """``zoo/data`` for files of this folder, ``plugins/painn`` likewise, ``zoo`` for files directly in it."""
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def collect(root: Path) -> list[Mutation]:
    """All candidates of the package and the built-in plugins."""
    found: list[Mutation] = []
    for folder in ("zoo", "plugins"):
        for path in sorted((root / folder).rglob("*.py")):
            found += mutations_of(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    return found


def draw(candidates: list[Mutation], *, count: int, seed: int, per_room: int = 2) -> list[Mutation]:
    """At least ``per_room`` mutations of each room and ``count`` in total; kinds are equally likely.

    What is drawn of a room does not depend on the other rooms, so that an edit changes only the draw of its own room.
    """
    drawn: list[Mutation] = []
    for room in sorted({mutation.room for mutation in candidates}):
        drawn += _some([m for m in candidates if m.room == room], per_room, random.Random(f"{seed} {room}"))
    rest = [m for m in candidates if m not in set(drawn)]
    return drawn + _some(rest, max(0, count - len(drawn)), random.Random(seed))


def _some(candidates: list[Mutation], count: int, rng: random.Random) -> list[Mutation]:
    """Kinds in random order, one of each in turn; no two mutations of one line."""
    left = {kind: [m for m in candidates if m.kind == kind] for kind in KINDS}
    chosen: list[Mutation] = []
    while len(chosen) < count and any(left.values()):
        kinds = [kind for kind in KINDS if left[kind]]
        for kind in rng.sample(kinds, len(kinds))[: count - len(chosen)]:
            mutation = left[kind].pop(rng.randrange(len(left[kind])))
            if (mutation.path, mutation.line) not in {(m.path, m.line) for m in chosen}:
                chosen.append(mutation)
    return chosen


def mutations_of(source: str, path: str) -> list[Mutation]:
    """The candidates of one file."""
    place = _Place(source)
    return [Mutation(path, node.lineno, kind, start, end, source[start:end], new)
            for node in _reachable(ast.parse(source)) for kind, start, end, new in _edits(node, place)]


class _Place:
    """Character offsets of nodes; columns of syntax trees count bytes."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = source.splitlines(keepends=True)
        self._first = [0]
        for line in self._lines:
            self._first.append(self._first[-1] + len(line))

    def start(self, node: ast.AST) -> int:
        return self._at(node.lineno, node.col_offset)  # type: ignore[attr-defined]

    def end(self, node: ast.AST) -> int:
        return self._at(node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]

    def _at(self, line: int, column: int) -> int:
        return self._first[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _reachable(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that a test on a CPU can reach: no annotations, messages, type-checking or CUDA-only blocks."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, (ast.Raise, ast.JoinedStr, ast.Assert)):
                continue
            if isinstance(node, ast.If) and re.search(r"TYPE_CHECKING|cuda|triton", ast.unparse(node.test)):
                continue
            yield node
            yield from _reachable(node)


def _edits(node: ast.AST, place: _Place) -> Iterator[tuple[str, int, int, str]]:
    """(kind, start, end, new text) of the edits at one node."""
    match node:
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC and not _is_text(left, right):
            old, new = _ARITHMETIC[type(operator)]
            yield "sign", *_between(place, left, right, old), new
        case ast.UnaryOp(ast.USub(), operand) if not isinstance(operand, ast.Constant):
            yield "sign", place.start(node), place.start(node) + 1, "+"
        case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARISONS:
            old, choices = _COMPARISONS[type(operator)]
            for new in choices:
                yield "comparison", *_between(place, left, right, old), new
        case ast.Expr(ast.Call()):
            yield "call", place.start(node), place.end(node), "pass"
        case ast.Subscript(_, index) if not isinstance(index, ast.Tuple):
            bounds = [index.lower, index.upper] if isinstance(index, ast.Slice) else [index]
            for bound in bounds:
                if (number := _integer(bound)) is not None:
                    yield "index", place.start(bound), place.end(bound), str(number + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div, ast.Pow)):
        for operand in (node.left, node.right):
            yield from _other_factor(operand, place)


def _other_factor(node: ast.AST, place: _Place) -> Iterator[tuple[str, int, int, str]]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value != 0:
        new = node.value + 1 if isinstance(node.value, int) else 2 * node.value
        yield "unit", place.start(node), place.end(node), repr(new)


def _between(place: _Place, left: ast.AST, right: ast.AST, operator: str) -> tuple[int, int]:
    at = place.source.index(operator, place.end(left), place.start(right))
    return at, at + len(operator)


def _is_text(*operands: ast.AST) -> bool:
    """Whether strings or sequences are joined, where − would fail at once."""
    return any(isinstance(n, (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp))
               or (isinstance(n, ast.Constant) and isinstance(n.value, str)) for n in operands)


def _integer(node: ast.AST | None) -> int | None:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
    return value if type(value) is int else None
