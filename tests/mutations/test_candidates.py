"""The mutations that `make mutations` draws: one edit each, at places that tests can reach, the same for one seed."""

from __future__ import annotations

import ast
from pathlib import Path

import yaml
from candidates import KINDS, collect, draw, mutations_of

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''
"""Å - no mutation in text."""
from typing import Literal
LIMIT = 2.5 * 4
def f(x: Literal[1], y=None):
    if TYPE_CHECKING:
        x = x - 1
    if x.is_cuda:
        x = x - 2
    x.sort()
    if (x[0] - (y)) < len("a" + "b"):
        raise ValueError(f"{x - 1}" + "c")
    return -x[1:] * 3
'''


def test_every_kind_is_found_and_nothing_that_no_test_can_reach():
    found = mutations_of(SOURCE, "zoo/data/some.py")
    assert sorted((m.line, m.kind, m.old, m.new) for m in found) == [
        (4, "unit", "2.5", "5.0"), (4, "unit", "4", "5"), (10, "call", "x.sort()", "pass"),
        (11, "comparison", "<", "<="), (11, "comparison", "<", ">"), (11, "index", "0", "1"),
        (11, "sign", "-", "+"), (13, "index", "1", "2"),
        (13, "sign", "-", "+"), (13, "unit", "3", "4")]
    for mutation in found:
        changed = mutation.apply(SOURCE)
        ast.parse(changed)
        differ = [k for k, (a, b) in enumerate(zip(SOURCE.splitlines(), changed.splitlines()), 1) if a != b]
        assert differ == [mutation.line] and mutation.room == "zoo/data"


def test_every_room_is_drawn_from_and_a_seed_gives_the_same_mutations():
    candidates = collect(ROOT)
    drawn = draw(candidates, count=40, seed=0)
    rooms = {m.room for m in candidates}
    assert all(sum(m.room == room for m in drawn) >= 2 for room in rooms if sum(m.room == room for m in candidates) > 4)
    assert len(drawn) >= 40 and {m.kind for m in drawn} == set(KINDS) and len({m.key for m in drawn}) == len(drawn)
    assert drawn == draw(candidates, count=40, seed=0) != draw(candidates, count=40, seed=1)
    for mutation in drawn:
        ast.parse(mutation.apply((ROOT / mutation.path).read_text(encoding="utf-8")))


def test_what_is_explained_is_still_there_and_can_be_drawn():
    drawable = {(m.path, (ROOT / m.path).read_text().splitlines()[m.line - 1].strip(), str(m)) for m in collect(ROOT)}
    for one in yaml.safe_load((ROOT / "tests" / "mutations" / "explained.yaml").read_text()):
        assert (one["file"], one["line"], one["mutation"]) in drawable, one
        assert len(one["reason"]) > 15
