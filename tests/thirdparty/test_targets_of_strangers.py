"""A plugin whose readouts give a charge per atom and a tensor per structure: trained, measured, checked, predicted."""

from __future__ import annotations

import json
from pathlib import Path

import ase.build
import ase.io
import pytest
from environments import HERE, call


@pytest.fixture(scope="module")
def python(environment, wheel_of) -> Path:
    return environment(wheel_of(HERE / "zoo-targets"))


@pytest.fixture(scope="module")
def trained(python, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "targets"
    call(python, "-m", "zoo", "train", "targets-toy", "--out", out, "--quiet", cwd=out.parent)
    return out


def test_charges_and_tensors_train_and_are_measured(trained):
    """The card has errors of both: per atom, and per structure."""
    from zoo.cards.card import Card

    metrics = {(m.target, m.metric): m for m in Card.load(trained).metrics if m.split == "test"}
    assert metrics["q", "mae"].n > metrics["alpha", "mae"].n > 0
    assert metrics["q", "r2"].value > 0.5
    assert metrics["alpha", "r2"].value > 0.5


def test_the_kit_turns_both_as_declared(python, trained, tmp_path):
    only = [f"--only={name}" for name in ("shapes", "symmetry", "card", "physics.batch")]
    said = call(python, "-m", "zoo", "check", trained, "--json", *only, cwd=tmp_path)
    report = json.loads(said[said.index("{"):])
    assert report["passed"]
    assert {"q", "alpha"} <= {row["of"] for row in report["rows"] if row["check"] == "symmetry.rotation"}


def test_predictions_are_per_atom_and_whole_tensors(python, trained, tmp_path):
    ase.io.write(tmp_path / "two.xyz", [ase.build.molecule("H2O"), ase.build.molecule("CH3OH")])
    options = ("--json", "--quiet", "--output", "out.xyz")
    said = call(python, "-m", "zoo", "predict", trained, "two.xyz", *options, cwd=tmp_path)
    rows = json.JSONDecoder().raw_decode(said[said.index("{"):])[0]["results"]  # a log follows
    assert [len(row["values"]["q"]) for row in rows] == [3, 6]
    assert all(abs(sum(row["values"]["q"])) < 1e-5 for row in rows)
    assert [[len(line) for line in row["values"]["alpha"]] for row in rows] == [[3, 3, 3]] * 2
    written = ase.io.read(tmp_path / "out.xyz", index=":")
    assert [atoms.arrays["predicted_q"].shape for atoms in written] == [(3,), (6,)]
    assert [atoms.info["predicted_alpha"].shape for atoms in written] == [(3, 3), (3, 3)]
