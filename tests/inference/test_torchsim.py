"""TorchSim's interface: its own validation, and the numbers of a plain prediction."""

from __future__ import annotations

import warnings
from dataclasses import replace

import ase.build
import numpy as np
import pytest
import torch
from springs import morse_model

from zoo.errors import MissingExtraError, StructureError
from zoo.inference.potential import Potential

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it imports
        import torch_sim

        from zoo.inference.torchsim import ZooTorchSim
except ImportError:
    torch_sim = None

needs_torchsim = pytest.mark.skipif(torch_sim is None, reason="the torchsim extra is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


def state_of(atoms):
    return torch_sim.io.atoms_to_state(atoms, torch.device("cpu"), torch.float64)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "torch_sim", None)
    monkeypatch.delitem(sys.modules, "zoo.inference.torchsim", raising=False)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[torchsim\]"):
        importlib.import_module("zoo.inference.torchsim")


@needs_torchsim
@pytest.mark.parametrize("architecture", ["morse", "painn", "nequip"])
def test_its_own_validation_passes(architecture):
    from torch_sim.models.interface import validate_model_outputs

    from zoo.loading.models import create

    torch.manual_seed(0)
    model = morse_model(elements=(14, 26)) if architecture == "morse" else \
        create(architecture, preset="small", elements=["Si", "Fe"], dtype="float64")
    validate_model_outputs(ZooTorchSim(model), torch.device("cpu"), torch.float64)


@needs_torchsim
def test_numbers_are_those_of_predict_and_follow_every_change():
    model = morse_model()
    wrapped = ZooTorchSim(model)
    crystals = [ase.build.bulk("Cu", cubic=True), ase.build.bulk("Si", cubic=True)]
    rng = np.random.default_rng(0)
    for round_ in range(4):
        for crystal in crystals:
            crystal.positions += 0.1 * rng.standard_normal(crystal.positions.shape)
            crystal.set_cell(crystal.cell * (1 + 0.01 * round_), scale_atoms=True)
        out = wrapped(state_of(crystals))
        wanted = model.predict(crystals, derivatives=["forces", "stress"])
        np.testing.assert_allclose(out["energy"], [w["energy"] for w in wanted], atol=1e-10)
        np.testing.assert_allclose(out["forces"], np.concatenate([w["forces"] for w in wanted]), atol=1e-10)
        np.testing.assert_allclose(out["stress"], np.stack([w["stress"] for w in wanted]), atol=1e-12)
    crystals = crystals[:1]
    np.testing.assert_allclose(wrapped(state_of(crystals))["energy"], [model.predict(crystals[0])["energy"]])


@needs_torchsim
def test_an_energy_that_no_structure_has_is_refused_with_its_system():
    class Absurd(Potential):
        def __call__(self, graph, **options):
            out = super().__call__(graph, **options)
            return replace(out, energy=out.energy + torch.tensor([0.0, 1e9], dtype=torch.float64))

    wrapped = ZooTorchSim(morse_model())
    wrapped._potential = Absurd(wrapped.model)
    with pytest.raises(StructureError, match=r"^system 1: the model gives an energy of 1e\+09 eV"):
        wrapped(state_of([ase.build.bulk("Cu", cubic=True), ase.build.bulk("Si", cubic=True)]))


@needs_torchsim
def test_without_derivatives_the_energy_is_the_same():
    crystal = ase.build.bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=0)
    model = ZooTorchSim(morse_model())
    state = state_of([crystal])
    expected = model(state)
    model.compute_forces = model.compute_stress = False
    alone = model(state)
    assert set(alone) == {"energy"} and set(expected) == {"energy", "forces", "stress"}
    torch.testing.assert_close(alone["energy"], expected["energy"])


@needs_torchsim
def test_a_molecule_has_no_stress_and_unknown_elements_are_refused():
    water = ase.build.molecule("H2O", vacuum=5.0)
    state = state_of([water])
    state.pbc = False
    wrapped = ZooTorchSim(morse_model(), compute_stress=False)
    assert set(wrapped(state)) == {"energy", "forces"}
    with pytest.raises(StructureError, match="stress"):
        ZooTorchSim(morse_model())(state)
    with pytest.raises(StructureError, match="Fe"):
        ZooTorchSim(morse_model())(state_of([ase.build.bulk("Fe")]))


@needs_torchsim
def test_a_relaxation_by_torchsim_ends_where_ours_does():
    model = morse_model()
    start = ase.build.bulk("Cu", cubic=True)
    start.rattle(0.1, seed=2)
    ours = model.relax(start, fmax=1e-3)
    final = torch_sim.optimize(
        start, ZooTorchSim(model), optimizer=torch_sim.optimizers.fire,
        convergence_fn=torch_sim.generate_force_convergence_fn(1e-3, include_cell_forces=False), max_steps=2000)
    assert float(final.energy[0]) == pytest.approx(ours.get_potential_energy(), abs=1e-5)
