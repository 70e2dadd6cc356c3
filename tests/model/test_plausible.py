"""Results beyond anything the property can be are errors of their structure, never numbers."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch

import zoo
from zoo.errors import StructureError
from zoo.loading.models import create
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits

TARGETS = {"energy": {"readout": "energy", "unit": "eV", "reference": "fitted"},
           "homo": {"readout": "intensive", "unit": "eV"}, "alpha": {"readout": "polarizability", "unit": "a0^3"}}


def model_that_gives(target: str, value: float) -> Model:
    """Its network gives ``value`` for every atom of a carbon compound's hydrogens, near nothing for all else."""
    torch.manual_seed(0)
    model = create("painn", elements=["H", "C"], targets=TARGETS, channels=4, num_layers=1, pbc=False).eval()
    for readout in model.readouts.values():
        for parameter in readout.parameters():
            torch.nn.init.zeros_(parameter)
        readout.set_constants(scale=0.5)
    model.readouts["energy"].set_constants(coefficients=torch.tensor([-16.0, -1036.0]))
    torch.nn.init.constant_(model.readouts[target].net[-1].bias, value)
    return model


@pytest.mark.parametrize("target", ["energy", "homo", "alpha"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_result_that_cannot_be_is_an_error_of_its_structure(target: str, sign: int) -> None:
    methane = ase.build.molecule("CH4")
    factor = 1.01 * len(methane) if target == "homo" else 1.01  # an intensive value is no sum over atoms
    with pytest.raises(StructureError, match=rf"^the structure: the model gives a {target} .* Fix: "):
        model_that_gives(target, sign * 1e5 * factor).predict(methane)
    within = model_that_gives(target, sign * 1e5 * factor / 1.05).predict(methane)[target]
    assert abs(within) > 4e4


def test_the_others_keep_their_numbers() -> None:
    model = zoo.load("painn-qm9")
    methane = ase.build.molecule("CH4")
    alone = model.predict(methane)["U0"]
    first, refused, last = model.predict([methane, ase.build.molecule("H2"), methane], on_error="keep")
    assert first["U0"] == pytest.approx(alone, abs=1e-3) and last["U0"] == pytest.approx(alone, abs=1e-3)
    assert isinstance(refused, StructureError) and str(refused).startswith("structure 1: ")
    assert alone == pytest.approx(-1102, abs=1)


def test_calculator_and_relaxation_refuse_it_too_and_serve_the_next_structure() -> None:
    model = model_that_gives("energy", 2e5)
    methane = ase.build.molecule("CH4")
    methane.calc = model.calculator()
    with pytest.raises(StructureError, match=r"gives an energy of 4\.989e\+05"):
        methane.get_potential_energy()
    torch.nn.init.constant_(model.readouts["energy"].net[-1].bias, 0.0)
    hydrogen = ase.build.molecule("H2")
    hydrogen.calc = methane.calc
    assert hydrogen.get_potential_energy() == pytest.approx(-32.0, abs=1e-6)
    torch.nn.init.constant_(model.readouts["energy"].net[-1].bias, 2e5)
    kept = model.relax([methane], on_error="keep", steps=1)
    assert isinstance(kept[0], StructureError)


def test_dynamics_stops_a_structure_whose_energy_none_can_have() -> None:
    model = model_that_gives("energy", 2e5)
    hydrogen, methane = ase.build.molecule("H2"), ase.build.molecule("CH4")
    motion = model.dynamics([methane, hydrogen], temperature=300.0)
    assert motion.failed.all() and motion.reasons[1] == "its energy is one that no structure has (step 0)"
    torch.nn.init.constant_(model.readouts["energy"].net[-1].bias, 0.0)
    motion = model.dynamics([methane, hydrogen], temperature=300.0)
    motion.step()
    torch.nn.init.constant_(model.readouts["energy"].net[-1].bias, 2e5)
    before = motion.pos.clone()
    motion.step()
    assert motion.failed.all() and torch.equal(motion.pos, before)


def test_the_limits_of_a_batch_are_those_of_its_structures() -> None:
    limits = EnergyLimits({1: -16.0, 6: -1036.0}, 100.0)
    graph = zoo.Graph.from_atoms([ase.build.molecule("CH4"), ase.Atoms("H")])
    assert limits.of_batch(graph).tolist() == [[-1600.0, -600.0], [-116.0, 84.0]]


def test_the_range_of_energies_follows_units_and_references() -> None:
    model = model_that_gives("energy", 0.0)
    low, high = EnergyLimits.of(model).of_atoms(np.array([6, 1, 1, 1, 1]))
    assert (low + high) / 2 == pytest.approx(-1036 - 4 * 16) and high - low == pytest.approx(2 * 5 * 0.5e5)
    model.units["energy"] = "kcal/mol"
    assert EnergyLimits.of(model).of_atoms(np.array([1]))[1] == pytest.approx(1e4 - 16 * 0.0433641)  # 10⁴ eV at least
