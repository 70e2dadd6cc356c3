"""``pytest --zoo-check=NAME``: every check of the kit as a test. Without the option it imports and does nothing."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["ZooCheck", "pytest_addoption", "pytest_collection_modifyitems"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("zoo", "conformance of plugins for geometric-zoo")
    group.addoption("--zoo-check", action="append", default=[], metavar="NAME",
                    help="check an architecture, a model, a package or a folder (repeatable)")
    group.addoption("--zoo-check-only", action="append", default=[], metavar="CHECK",
                    help="only this section or check (repeatable)")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    names = config.getoption("--zoo-check")
    if not names:
        return
    from zoo.conformance.find import find
    from zoo.conformance.run import chosen
    from zoo.errors import ZooError

    try:
        checks = chosen(config.getoption("--zoo-check-only"))
        subjects = [subject for name in names for subject in find(name)]
    except ZooError as error:
        raise pytest.UsageError(f"--zoo-check: {error}") from None
    measured: dict[Any, Any] = {}
    items += [ZooCheck.from_parent(session, name=f"{subject.name}::{check.name}", subject=subject, check=check,
                                   measured=measured)
              for subject in subjects for check in checks]


class ZooCheck(pytest.Item):
    """One check of one subject; an exempt row is an expected failure, a row that does not apply is a skip."""

    def __init__(self, *, subject: Any, check: Any, measured: dict[Any, Any], **node: Any) -> None:
        super().__init__(**node)
        self.subject, self.check, self.measured = subject, check, measured

    def runtest(self) -> None:
        from zoo.conformance import Nonconformance
        from zoo.conformance.run import rows_of

        rows = list(rows_of(self.subject, self.check, self.measured))
        failed = [row for row in rows if row.status == "fail"]
        if failed:
            raise Nonconformance("\n".join(str(row) for row in failed))
        for status, end in (("exempt", pytest.xfail), ("not applicable", pytest.skip)):
            reasons = [row.detail for row in rows if row.status == status]
            if reasons and all(row.status in (status, "not applicable") for row in rows):
                end(reasons[0])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from zoo.conformance import Nonconformance

        return str(excinfo.value) if isinstance(excinfo.value, Nonconformance) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, int | None, str]:
        return "zoo check", None, self.name
