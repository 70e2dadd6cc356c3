"""Backbones that break one promise each: the row meant for it says so, and nothing crashes."""

from __future__ import annotations

import broken
import pytest

from zoo.conformance import Nonconformance, assert_conforms, check
from zoo.conformance.run import CHECKS

FAULTS = [name for name, cls in vars(broken).items()
          if isinstance(cls, type) and issubclass(cls, broken.Sound) and cls is not broken.Sound]

CATCHES = {
    "WrongForceSign": "physics.forces",
    "WrongStressSign": "physics.stress",
    "ParityLeak": "symmetry.reflection",
    "NeighbourCap": "physics.neighbours",
    "MissingImage": "physics.supercell",
    "BatchLeak": "physics.batch",
    "HardCutoff": "physics.smooth-value",
    "KinkedCutoff": "physics.smooth-force",
    "BentCutoff": "physics.smooth-hessian",
    "CuspedLengths": "physics.smooth-sites",
    "SinglePrecisionConstant": "symmetry.precision",
    "Squeezed": "shapes.one-atom",
    "StaleCache": "shapes.memory",
    "ChangesInput": "shapes.inputs",
    "UnusedParameter": "engineering.gradients",
    "ReadsPositions": "symmetry.translation",
    "SharedTensor": "engineering.tensors",
    "UnseededWeights": "engineering.seed",
    "DrawsNumbers": "shapes.globals",
    "ReadsData": "engineering.export",
    "NoAtoms": "shapes.no-edges",
}
SPARED = {
    "WrongForceSign": "symmetry.rotation", "WrongStressSign": "physics.forces", "ParityLeak": "symmetry.rotation",
    "MissingImage": "physics.forces", "HardCutoff": "physics.forces", "KinkedCutoff": "physics.smooth-value",
    "BentCutoff": "physics.smooth-force", "CuspedLengths": "physics.smooth-hessian",
    "SinglePrecisionConstant": "physics.forces", "Squeezed": "shapes.one-structure", "BatchLeak": "symmetry.rotation",
    "UnusedParameter": "symmetry.rotation", "ReadsData": "physics.forces",
}
"""A row that the same fault must not disturb: the table points at the fault."""

QUICK = sorted({*CATCHES.values(), *SPARED.values()})


def statuses(name: str, identifier: str) -> list[str]:
    return [row.status for row in check(name, only=[identifier]).rows]


@pytest.mark.parametrize("fault", CATCHES)
def test_the_row_meant_for_it_sees_the_fault(zoo_of_faults, fault):
    assert "fail" in statuses(fault.lower(), CATCHES[fault])


@pytest.mark.parametrize("fault", SPARED)
def test_other_rows_are_not_disturbed(zoo_of_faults, fault):
    assert set(statuses(fault.lower(), SPARED[fault])) == {"pass"}


def test_the_sound_one_passes_the_same_rows(zoo_of_faults):
    report = assert_conforms("sound", only=QUICK)
    assert {row.check for row in report.rows if row.status == "pass"} == set(QUICK)


def test_a_fault_that_raises_is_a_row_with_its_words(zoo_of_faults):
    row = check("noatoms", only=["shapes.no-edges"]).rows[0]
    assert row.status == "fail"
    assert "RuntimeError: min()" in row.detail


def test_the_error_of_a_test_has_the_rows(zoo_of_faults):
    with pytest.raises(Nonconformance, match=r"parityleak.*symmetry\.reflection"):
        assert_conforms("parityleak", only=["symmetry"])


def test_every_fault_has_its_row_and_every_row_exists():
    names = {c.name for c in CHECKS}
    assert len(names) == len(CHECKS)
    assert {*CATCHES.values(), *SPARED.values()} <= names
    assert set(FAULTS) == set(CATCHES)
