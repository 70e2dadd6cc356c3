"""What the tests prove, in words: each row of the table in `docs/experiments/hub-faults.md` names its test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

_F = TypeVar("_F", bound=Callable)


@dataclass(frozen=True)
class Row:
    section: str
    situation: str
    outcome: str
    place: tuple[str, int] = ("", 0)


ROWS: list[Row] = []


def row(section: str, situation: str, outcome: str) -> Callable[[_F], _F]:
    """Put a row into the table, for the test that follows."""

    def keep(test: _F) -> _F:
        place = (test.__module__.rpartition(".")[2], test.__code__.co_firstlineno)
        ROWS.append(Row(section, situation, outcome, place))
        return test

    return keep
