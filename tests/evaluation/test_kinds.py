"""Errors, coverage and flags by kind of structure, where the data set names kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zoo
from zoo.cli import app
from zoo.data.sample import open_sample
from zoo.evaluation.breakdown import by_kind
from zoo.evaluation.metrics import TargetResult

KINDS = {"label": "geometry", "names": ["b3lyp", "mmff", "xtb"]}


@pytest.fixture(scope="module")
def store():
    sample = open_sample()
    kind = torch.arange(len(sample), dtype=torch.float64) % 2 * 2
    return replace(sample, labels={**sample.labels, "geometry": kind}, units={**sample.units, "geometry": "1"},
                   meta={**sample.meta, "kinds": KINDS})


def result(error: list[float], width: list[float], structure: list[int]) -> TargetResult:
    value = np.asarray(error)
    return TargetResult("eV", value, np.zeros_like(value), np.asarray(structure), np.zeros_like(value),
                        np.asarray(width))


def test_flagged_structures_count_as_flagged_and_not_in_the_coverage(store):
    rows = torch.tensor([0, 1, 2, 3, 5])  # b3lyp, xtb, b3lyp, xtb, xtb; the third structure has no label
    found = by_kind({"gap": result([1.0, 3.0, 2.0, -8.0], [2.0, 1.0, 3.0, 9.0], [0, 1, 3, 4])},
                    [False, True, True, False, False], store, rows, "test")
    assert found == {"split": "test", "by": "kind", "groups": ["b3lyp", "xtb"], "n": [2, 3],
                     "mae": {"gap": [1000.0, pytest.approx(4333, abs=1)]}, "coverage": {"gap": [1.0, 1.0]},
                     "outside": [0.5, 0.3333]}


def test_data_of_one_kind_has_no_such_table(store):
    nothing = {"gap": result([1.0], [2.0], [0])}
    assert by_kind(nothing, [False], store, torch.tensor([0]), "test") is None
    assert by_kind(nothing, [False], open_sample(), torch.tensor([0]), "test") is None


def test_the_table_is_printed_and_goes_into_the_card(store, tmp_path):
    torch.manual_seed(0)
    model = zoo.create("painn", targets={"gap": {"readout": "intensive", "unit": "eV"}}, cutoff=4.0, channels=8,
                       num_layers=1, elements=["H", "C", "N", "O", "F"], pbc=False)
    zoo.save(model, tmp_path / "tiny", name="tiny", data={"dataset": "qm9"})
    store.save(tmp_path / "store")
    ran = CliRunner().invoke(app, ["evaluate", str(tmp_path / "tiny"), "--data", str(tmp_path / "store"), "--write",
                                   "-o", str(tmp_path / "out.yaml")])
    assert ran.exit_code == 0, ran.output
    assert "MAE by kind" in ran.output
    (part,) = [p for p in zoo.Card.load(tmp_path / "tiny").breakdown if p.by == "kind"]
    assert part.groups == ["b3lyp", "xtb"] and sum(part.n) == 100 and part.coverage is None
