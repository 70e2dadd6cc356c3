"""The conformance kit: checks of architectures and models, also of other packages. Importing it imports no torch.

Use ``zoo check NAME``, ``pytest --zoo-check=NAME``, or a test::

    from zoo.conformance import assert_conforms

    def test_it_conforms():
        assert_conforms("my-model")

Start with ``run.py``, which runs the checks of the files ``registration.py``, ``shapes.py``, ``symmetry.py`` and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.conformance.report import Report, Row
from zoo.errors import ZooError

__all__ = ["Nonconformance", "Report", "Row", "assert_conforms", "check"]


class Nonconformance(ZooError, AssertionError):
    """A check fails without a declared exemption; the message lists the rows."""


def check(name: str | Path, *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """Check an architecture, a trained model, all architectures of a package, or a folder.

    Args:
        name: an architecture or model, a distribution that holds a plugin, a card folder, or the source folder of an
            installed plugin.
        only: sections or checks to run, such as ``physics`` or ``engineering.overfit``; all if empty.
        skip: sections or checks to leave out.

    Raises:
        UnknownNameError: nothing has this name, or a name in ``only`` or ``skip`` is not a check.
    """
    from zoo.conformance.run import run

    return run(name, only=only, skip=skip)


def assert_conforms(name: str | Path, *, only: Sequence[str] = (), skip: Sequence[str] = ()) -> Report:
    """As :func:`check`, for tests.

    Raises:
        Nonconformance: a check fails.
    """
    report = check(name, only=only, skip=skip)
    if not report.passed:
        rows = "\n".join(str(row) for row in report.failures)
        raise Nonconformance(f"{report.name} does not conform:\n{rows}\nFix: correct the model, or declare an "
                             "exemption with a reason in its card")
    return report
