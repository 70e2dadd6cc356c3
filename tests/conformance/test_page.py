"""docs/experiments/conformance.md: every verdict on it is what the kit finds, of everything that comes with the zoo."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from zoo.conformance import Report
from zoo.conformance.find import find_all
from zoo.conformance.run import CHECKS, Check, check_subjects, chosen
from zoo.conformance.subject import Subject
from zoo.registry import names as registry

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ["schnet", "dimenet", "gemnet", "painn", "nequip"]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_conformance", ROOT / "docs" / "make_conformance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(maker: ModuleType) -> dict[str, dict[str, str]]:
    return maker.read(maker.PAGE.read_text(encoding="utf-8"))


def test_the_page_has_every_check_of_everything_that_comes_with_the_zoo(maker, page):
    subjects, left_out = find_all()
    assert [name for name in left_out if registry.show(name).source is None] == []
    assert set(page) == {s.name for s in subjects if s.plugin.builtin}, "run make conformance"
    checks = {check.name for check in CHECKS if not {check.name, check.section} & set(maker.OF_THE_MACHINE)}
    assert all(set(found) == checks for found in page.values()), "run make conformance"
    assert all("fail" not in found.values() for found in page.values())


def test_a_page_reads_back_as_the_verdicts_that_it_was_made_from(maker):
    rows = [row | {"title": "a claim", "of": "", "dtype": "", "measured": 1.0, "bound": 2.0, "detail": "a reason"}
            for row in ({"subject": "painn", "check": "card.sha256", "status": "not applicable"},
                        {"subject": "painn-x", "check": "card.sha256", "status": "pass"},
                        {"subject": "painn-x", "check": "card.golden", "status": "pass"},
                        {"subject": "painn-x", "check": "card.golden", "status": "fail"},
                        {"subject": "painn-x", "check": "physics.stress", "status": "exempt"},
                        {"subject": "painn-x", "check": "shapes.device", "status": "pass"})]
    page = maker.page(rows, {})
    assert maker.read(page) == maker.verdicts(rows) == {
        "painn": {"card.sha256": "not applicable"},
        "painn-x": {"card.sha256": "pass", "card.golden": "fail", "physics.stress": "exempt"}}
    assert "measured 1, bound 2. a reason" in page


def subjects_of(family: str, *, one: bool) -> list[Subject]:
    """The model of ``family`` that `make test` checks, or everything else of the family that comes with the zoo."""
    mine = [subject for subject in find_all()[0] if subject.plugin.builtin and subject.architecture.name == family]
    return [subject for subject in mine if (subject.name == f"{family}-qm9") == one]


# Compilation takes most of the time of these families; `make test` compiles and exports the other three.
HEAVY = dict.fromkeys(["dimenet", "gemnet"], ("engineering.compile", "engineering.export"))


def find_again(maker: ModuleType, page: dict[str, dict[str, str]], name: str, subjects: list[Subject],
               checks: list[Check]) -> None:
    report: Report = check_subjects(name, subjects, checks)
    assert report.passed, "\n".join(str(row) for row in report.failures)
    of_checks = {check.name for check in checks}
    assert maker.verdicts(report.to_dict()["rows"]) == {
        subject.name: {check: verdict for check, verdict in page[subject.name].items() if check in of_checks}
        for subject in subjects}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_verdict_of_one_model_is_found_again(maker, page, family):
    mine = subjects_of(family, one=True)
    assert len(mine) == 1
    find_again(maker, page, family, mine, chosen(skip=["cost", *HEAVY.get(family, ())]))


@pytest.mark.slow
@pytest.mark.parametrize("family", HEAVY)
def test_what_takes_long_is_found_again(maker, page, family):
    find_again(maker, page, family, subjects_of(family, one=True), chosen(only=HEAVY[family]))


# Of one architecture, so that they share what is measured once.
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_verdict_of_everything_else_is_found_again(maker, page, family):
    mine = subjects_of(family, one=False)
    assert len(mine) > 1
    find_again(maker, page, family, mine, chosen(skip=["cost"]))
