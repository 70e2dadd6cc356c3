"""The Delta test on models whose energy is a Birch–Murnaghan equation with known parameters."""

from __future__ import annotations

import json

import ase.units
import numpy as np
import pytest
import torch
from ase.collections import dcdft
from ase.data import atomic_numbers
from ase.eos import birchmurnaghan
from scipy.integrate import quad
from springs import energy_model, morse_model
from torch import Tensor, nn
from typer.testing import CliRunner

from zoo.cards.card import Card
from zoo.cli import app
from zoo.errors import StructureError, ZooError
from zoo.graph.graph import Graph
from zoo.loading.models import create, save
from zoo.properties import DeltaTest, delta_test
from zoo.properties.card_results import describe
from zoo.properties.elemental_crystals import fit
from zoo.properties.pictures import draw_delta

ALL = tuple(atomic_numbers[name] for name in dcdft.names)


class Compressible(nn.Module):
    """h_i = E(V/N), the Birch–Murnaghan equation of the element's reference, with V₀ and B scaled, and an offset."""

    def __init__(self, *, volume: float, stiffness: float) -> None:
        super().__init__()
        self.cutoff, self.irreps_out = 0.5, "1x0e"
        self.one = nn.Parameter(torch.ones(()))
        table = torch.zeros(100, 3, dtype=torch.float64)
        for name in dcdft.names:
            data = dcdft.data[name]
            table[atomic_numbers[name]] = torch.tensor(
                [volume * data["wien2k_volume"], stiffness * data["wien2k_B"] * ase.units.GPa, data["wien2k_Bp"]])
        self.register_buffer("table", table, persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        each = torch.linalg.det(graph.cell).abs() / graph.ptr.diff()
        v0, b0, b1 = self.table[graph.z].T
        eta = (v0 / each[graph.batch]) ** (1 / 3)
        energy = 9 * b0 * v0 / 16 * (eta**2 - 1) ** 2 * (6 + b1 * (eta**2 - 1) - 4 * eta**2)
        return self.one * (energy - 7.0)[:, None]


def model(volume=1.0, stiffness=1.0, elements=ALL):
    return energy_model(Compressible(volume=volume, stiffness=stiffness), elements)


def definition(name, volume, stiffness):
    """Δ by adaptive quadrature of its definition, meV/atom."""
    data = dcdft.data[name]
    v, b, b1 = data["wien2k_volume"], data["wien2k_B"] * ase.units.GPa, data["wien2k_Bp"]
    middle = v * (1 + volume) / 2

    def squared(x):
        return (birchmurnaghan(x, 0.0, b * stiffness, b1, v * volume) - birchmurnaghan(x, 0.0, b, b1, v)) ** 2

    return 1000 * np.sqrt(quad(squared, 0.94 * middle, 1.06 * middle)[0] / (0.12 * middle))


def test_the_reference_itself_has_no_delta_in_any_of_the_71_crystals():
    done = []
    test = delta_test(model(), progress=lambda count, of: done.append((count, of)))
    assert len(test.crystals) == 71 and not test.outside and not test.failed and done[-1] == (71, 71)
    for name, entry in test.crystals.items():
        assert entry.delta < 1e-4, name
        assert entry.curve.bulk_modulus == pytest.approx(dcdft.data[name]["wien2k_B"], rel=1e-5)


@pytest.mark.parametrize("volume, stiffness", [(1.03, 1.1), (0.98, 0.8), (1.22, 1.0), (0.78, 0.9)])
def test_delta_is_the_published_definition_also_far_from_the_reference(volume, stiffness):
    names = ["Si", "Cu", "He"]
    test = delta_test(model(volume, stiffness), names)
    assert list(test.crystals) == names
    for name, entry in test.crystals.items():
        assert entry.curve.volume == pytest.approx(volume * dcdft.data[name]["wien2k_volume"], rel=1e-6)
        assert entry.delta == pytest.approx(definition(name, volume, stiffness), rel=2e-4), name
    report = test.report()
    assert report["delta_meV_per_atom"] == pytest.approx(np.mean([e.delta for e in test.crystals.values()]), rel=5e-3)
    assert report["median_volume_error_percent"] == pytest.approx(100 * abs(volume - 1), rel=5e-3)


def test_unknown_elements_and_crystals_without_a_minimum_are_listed_and_in_no_mean():
    known = (14, 29)
    test = delta_test(model(elements=known), ["Si", "Po", "Cu", "Rn"])
    assert list(test.crystals) == ["Si", "Cu"] and test.outside == ("Po", "Rn")
    far = delta_test(model(1.5), ["Si"])
    assert not far.crystals and "no minimum of the energy within 30% of 20.4" in far.failed["Si"]
    assert far.report()["delta_meV_per_atom"] is None and json.dumps(far.report(), allow_nan=False)
    with pytest.raises(StructureError, match="knows none of Po, Rn"):
        delta_test(model(elements=known), ["Po", "Rn"])
    with pytest.raises(ZooError, match=r"no crystal of Xx\. Fix"):
        delta_test(model(), ["Xx"])


def test_a_fit_needs_a_minimum():
    volumes = np.linspace(18, 22, 7)
    assert fit(volumes, -volumes) is None
    curve = fit(volumes, birchmurnaghan(volumes, 3.0, 0.6, 4.2, 20.5))
    assert (curve.volume, curve.bulk_modulus * ase.units.GPa, curve.derivative) == pytest.approx((20.5, 0.6, 4.2))


def test_a_line_for_the_card_and_a_picture(tmp_path):
    test = delta_test(model(1.03, elements=(3, 14, 29, 71)), ["Li", "Si", "Lu", "Po"])
    assert describe({"delta": test.report()}).endswith("Po unknown")
    far = DeltaTest(test.crystals, test.outside, {"He": "no minimum"})
    assert draw_delta(far, tmp_path / "delta.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_a_table_and_json(monkeypatch):
    monkeypatch.setattr("zoo.cli.delta.load_to_measure", lambda *a, **k: morse_model((29,), size=0.95))
    runner = CliRunner()
    shown = runner.invoke(app, ["lab", "delta", "any", "--elements", "Cu, Po"], env={"COLUMNS": "120"})
    assert shown.exit_code == 0 and "unknown to the model: Po" in shown.output and "(11.951)" in shown.output
    data = json.loads(runner.invoke(app, ["lab", "delta", "any", "--elements", "Cu", "--json"]).output)
    assert data["crystals"] == 1 and data["each"]["Cu"] > 0 and data["dtype"] == "float64"


def test_the_result_goes_into_the_card(tmp_path):
    folder = tmp_path / "untrained"
    save(create("schnet", preset="small", elements=["Cu"], name="untrained", cutoff=3.5), folder,
         domain={"elements": ["Cu"], "pbc": True})
    done = CliRunner().invoke(app, ["lab", "delta", str(folder), "--elements", "Cu,Po", "--write"])
    assert done.exit_code == 0, done.output
    found = Card.load(folder).stability["delta"]
    assert found["outside"] == ["Po"] and found["crystals"] + len(found["failed"]) == 1
