"""Runs the checks in order; a check that raises becomes a row that fails, and the others still run."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from zoo.conformance import card_checks, cost, engineering, expressivity, physics, registration, shapes, symmetry
from zoo.conformance.checks import Check, Finding
from zoo.conformance.find import find
from zoo.conformance.report import Report, Row, Status
from zoo.conformance.subject import Subject
from zoo.errors import UnknownNameError, did_you_mean

__all__ = ["CHECKS", "check_subjects", "chosen", "rows_of", "run"]

_UP_TO_CARD = (*registration.CHECKS, *shapes.CHECKS, *symmetry.CHECKS, *physics.CHECKS, *engineering.CHECKS,
               *card_checks.CHECKS)
_AFTER_CARD = (*expressivity.CHECKS, *cost.CHECKS)

CHECKS: tuple[Check, ...] = (
    *_UP_TO_CARD, card_checks.exemptions(check.name for check in (*_UP_TO_CARD, *_AFTER_CARD)), *_AFTER_CARD)
"""Every check, section by section."""

Measured = dict[tuple[str, str], tuple[str, list[Finding]]]
"""Name and findings of the first subject of a design, by check and design."""


def run(name: str | Path, *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """See :func:`zoo.conformance.check`."""
    checks = chosen(only, skip)
    return check_subjects(str(name), find(name), checks)


def check_subjects(name: str, subjects: Iterable[Subject], checks: Sequence[Check],
                   on_row: Callable[[Row], None] | None = None) -> Report:
    """The report of the subjects; ``on_row`` is called with each finished row."""
    start = time.perf_counter()
    rows: list[Row] = []
    measured: Measured = {}
    for subject in subjects:
        for check in checks:
            for row in rows_of(subject, check, measured):
                rows.append(row)
                if on_row is not None:
                    on_row(row)
    return Report(name, tuple(rows), _environment(), time.perf_counter() - start)


def chosen(only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Check]:
    """Checks by section or by name.

    Raises:
        UnknownNameError: there is no such section or check.
    """
    known = [name for check in CHECKS for name in (check.section, check.name)]
    for name in (*only, *skip):
        if name not in known:
            sections = ", ".join(dict.fromkeys(check.section for check in CHECKS))
            raise UnknownNameError(f"there is no check '{name}'{did_you_mean(name, known, n=3)} Fix: choose a check or "
                                   f"one of the sections {sections}")
    return [check for check in CHECKS if (not only or {check.section, check.name} & set(only))
            and not {check.section, check.name} & set(skip)]


def rows_of(subject: Subject, check: Check, measured: Measured | None = None) -> Iterator[Row]:
    """One check of one subject; findings in ``measured`` of another subject of the same design are reused."""
    start = time.perf_counter()
    findings = _findings(subject, check, {} if measured is None else measured)
    share = (time.perf_counter() - start) / max(1, len(findings))
    reasons = _exemptions(subject)
    for finding in findings:
        status, detail = _judged(finding, reasons.get(check.name))
        yield Row(subject=subject.name, check=check.name, title=check.title, of=finding.of, dtype=finding.dtype,
                  measured=finding.measured, bound=finding.bound, status=status, detail=detail, seconds=share)


def _findings(subject: Subject, check: Check, measured: Measured) -> list[Finding]:
    findings: list[Finding] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if check.of_design and (check.name, subject.design) in measured:
                return _again(*measured[check.name, subject.design])
            answer = check.measure(subject)
            for finding in [answer] if isinstance(answer, Finding) else answer:
                findings.append(finding)
            if check.of_design:
                measured[check.name, subject.design] = subject.name, findings
    except (Exception, SystemExit) as error:
        text = str(error).strip().splitlines()
        findings.append(Finding(ok=False, detail=f"{type(error).__name__}: {text[0] if text else 'no message'}"))
    return findings


def _again(other: str, findings: list[Finding]) -> list[Finding]:
    return [replace(f, detail=f"{f.detail}; measured on {other}, of the same design".lstrip("; ")) for f in findings]


def _judged(finding: Finding, reason: str | None) -> tuple[Status, str]:
    if finding.ok is None:
        return "not applicable", finding.detail
    if reason is None:
        return ("pass" if finding.ok else "fail"), finding.detail
    if finding.ok:
        return "pass", f"passes although an exemption is declared ({reason}) {finding.detail}".rstrip()
    return "exempt", f"declared: {reason}; found: {finding.detail or 'beyond the bound'}"


def _exemptions(subject: Subject) -> dict[str, str]:
    try:
        return {exemption.check: exemption.reason for exemption in subject.card.exemptions}
    except Exception:
        # A model that cannot be built has no card with exemptions; the rows give the reason.
        return {}


def _environment() -> dict[str, str]:
    names = ("geometric-zoo", "torch", "e3nn", "numpy")
    return {**{name: version(name) for name in names}, "python": platform.python_version(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)",
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "none"}
