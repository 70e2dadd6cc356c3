"""A check and its findings."""

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
    """One measurement; ``ok`` is ``None`` if the check does not apply, and ``detail`` then gives the reason."""

    ok: bool | None
    measured: float | None = None
    bound: float | None = None
    detail: str = ""
    of: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Check:
    """A named claim and the function that tests it; if the function raises, the claim fails.

    Attributes:
        of_design: the result depends only on :attr:`Subject.design`, not on weights, elements or targets, and is shared
            by subjects of the same design.
    """

    name: str
    title: str
    measure: Callable[[Subject], Finding | Iterable[Finding]]
    of_design: bool = False

    @property
    def section(self) -> str:
        return self.name.partition(".")[0]


def below(measured: float, bound: float, detail: str = "", *, of: str = "", dtype: str = "") -> Finding:
    """Passes if the number is finite and not larger than its bound."""
    return Finding(ok=math.isfinite(measured) and measured <= bound, measured=measured, bound=bound, detail=detail,
                   of=of, dtype=dtype)


def found(ok: bool, detail: str = "", *, of: str = "", dtype: str = "") -> Finding:
    """Passes or not, with the details in words."""
    return Finding(ok=ok, detail=detail, of=of, dtype=dtype)


def not_applicable(reason: str, *, measured: float | None = None, of: str = "") -> Finding:
    """Does not apply, with the reason; a number may still be shown."""
    return Finding(ok=None, detail=reason, measured=measured, of=of)
