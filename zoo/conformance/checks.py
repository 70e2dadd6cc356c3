"""What a check is, and what it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.conformance.subject import Subject

__all__ = ["Check", "Finding", "below", "found", "not_applicable"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One measurement: ``ok`` is ``None`` where the check does not apply, and ``detail`` says why."""

    ok: bool | None
    measured: float | None = None
    bound: float | None = None
    detail: str = ""
    of: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Check:
    """A named claim and the function that measures it; a function that raises is a claim that fails.

    ``of_design``: what is found depends on :attr:`Subject.design` alone, not on weights, elements or targets, so that
    subjects of one design share it.
    """

    name: str
    title: str
    measure: Callable[[Subject], Finding | Iterable[Finding]]
    of_design: bool = False

    @property
    def section(self) -> str:
        return self.name.partition(".")[0]


def below(measured: float, bound: float, detail: str = "", *, of: str = "", dtype: str = "") -> Finding:
    """Fine if the number is finite and no larger than its bound."""
    return Finding(ok=math.isfinite(measured) and measured <= bound, measured=measured, bound=bound, detail=detail,
                   of=of, dtype=dtype)


def found(ok: bool, detail: str = "", *, of: str = "", dtype: str = "") -> Finding:
    """Fine or not, with what was found in words."""
    return Finding(ok=ok, detail=detail, of=of, dtype=dtype)


def not_applicable(reason: str, *, measured: float | None = None, of: str = "") -> Finding:
    """Does not apply, and why; a number may be shown all the same."""
    return Finding(ok=None, detail=reason, measured=measured, of=of)
