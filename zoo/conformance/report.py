"""The report: one row for each measurement, with its bound. Torch-free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["STATUSES", "Report", "Row", "Status"]

Status = Literal["pass", "fail", "exempt", "not applicable"]

STATUSES: tuple[Status, ...] = ("pass", "fail", "exempt", "not applicable")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement.

    Attributes:
        subject: the architecture or model.
        check: identifier, ``section.name``; what an exemption in a card names.
        title: the claim, as a sentence.
        of: what was measured, such as ``features 1o`` or a target; may be empty.
        dtype: ``float32``, ``float64`` or empty.
        measured, bound: numbers, or ``None``.
        detail: details in words; the reason if the row is exempt or not applicable.
        seconds: time of the check.
    """

    subject: str
    check: str
    title: str
    of: str = ""
    dtype: str = ""
    measured: float | None = None
    bound: float | None = None
    status: Status
    detail: str = ""
    seconds: float = 0.0

    @property
    def section(self) -> str:
        return self.check.partition(".")[0]

    def __str__(self) -> str:
        number = "" if self.measured is None else f": {self.measured:.3g}"
        number += "" if self.bound is None else f" (bound {self.bound:.3g})"
        on = " ".join(part for part in (self.of, self.dtype) if part)
        return f"{self.status}  {self.subject}  {self.check}{f' [{on}]' if on else ''}{number}  {self.detail}".rstrip()


@dataclass(frozen=True)
class Report:
    """All rows of one ``zoo check``.

    Attributes:
        name: the name that was given.
        rows: in the order of the sections, subject by subject.
        environment: versions and machine.
        seconds: wall time.
    """

    name: str
    rows: tuple[Row, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.status == "fail")

    @property
    def passed(self) -> bool:
        """True if there are rows and none failed."""
        return bool(self.rows) and not self.failures

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows with each status."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in STATUSES}

    def rows_of(self, check: str) -> tuple[Row, ...]:
        """Rows of one check or section."""
        return tuple(row for row in self.rows if check in (row.check, row.section))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"name": self.name, "passed": self.passed, "seconds": round(self.seconds, 2), "counts": self.counts,
                "environment": dict(self.environment), "rows": [asdict(row) for row in self.rows]}
