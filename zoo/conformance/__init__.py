"""What every plugin must pass: ``zoo check NAME``, ``pytest --zoo-check=NAME``, or in a test file of one's own::

    from zoo.conformance import assert_conforms

    def test_it_conforms():
        assert_conforms("my-model")

Importing this package imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.conformance.report import Report, Row
from zoo.errors import ZooError

__all__ = ["Nonconformance", "Report", "Row", "assert_conforms", "check"]


class Nonconformance(ZooError, AssertionError):
    """A plugin or a model fails a check that it does not declare an exemption from; the message has the rows."""


def check(name: str | Path, *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """Measure an architecture, a trained model, all a package offers, or what lies in a folder.

    Args:
        name: an architecture or model, a distribution that holds a plugin, a card folder, or the source folder of an
            installed plugin.
        only: sections or checks, such as ``physics`` or ``engineering.overfit``; all if empty.
        skip: sections or checks left out.

    Raises:
        UnknownNameError: nothing has this name, or a name in ``only`` or ``skip`` is no check.
    """
    from zoo.conformance.run import run

    return run(name, only=only, skip=skip)


def assert_conforms(name: str | Path, *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """As :func:`check`; for tests.

    Raises:
        Nonconformance: a row fails.
    """
    report = check(name, only=only, skip=skip)
    if not report.passed:
        raise Nonconformance(f"{report.name} does not conform:\n" + "\n".join(str(row) for row in report.failures))
    return report
