"""Several threads at once: the numbers of one thread, bit for bit. Inside torch's no_grad and inference_mode too."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import ase.build
import numpy as np
import pytest
import torch
from toy import toy_model

import zoo
from zoo.inference.potential import frozen

MOLECULES = [ase.build.molecule(name) for name in ("CH3CH2OH", "H2O", "C6H6", "CH4", "HCN", "CH3CHO", "NH3", "C2H2")]


@pytest.fixture(autouse=True)
def threads_change_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_eight_threads(run, rounds=3):
    """What ``run(k)`` gives for k = 0 … 7, from one thread and from eight at once."""
    alone = [run(k) for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(rounds):
            for one, many in zip(alone, pool.map(run, range(8)), strict=True):
                assert_equal(one, many)


def assert_equal(one, many):
    if isinstance(one, dict):
        assert one.keys() == many.keys()
        for key in one:
            assert_equal(one[key], many[key])
    else:
        np.testing.assert_array_equal(one, many)


@pytest.fixture(scope="module")
def qm9():
    return zoo.load("painn-qm9")


def test_predictions_with_uncertainty_and_forces(qm9):
    def run(k):
        derivatives = ("forces",) if k % 2 else ()
        return qm9.predict(MOLECULES[k], derivatives=derivatives, uncertainty=k % 3 != 0, per_atom=k == 5)

    in_eight_threads(run)
    assert all(parameter.requires_grad for parameter in qm9.parameters())


def test_a_calculator_a_thread_dynamics_and_relaxation_of_one_model():
    model = zoo.create("painn", preset="small", elements=["H", "C", "N", "O"])

    def run(k):
        atoms = MOLECULES[k].copy()
        if k % 4 == 0:
            return model.relax(atoms, steps=3).positions
        if k % 4 == 1:
            moving = model.dynamics(atoms, temperature=300.0, seed=k)
            moving.step(3)
            return moving.pos.numpy()
        if k % 4 == 2:
            return model.predict(atoms, derivatives=["forces"])
        atoms.calc = model.calculator()
        return atoms.get_forces()

    in_eight_threads(run, rounds=1)


def test_models_are_loaded_and_made():
    def run(k):
        if k % 2:
            return float(zoo.load("schnet-ethanol").predict(MOLECULES[0])["energy"])
        model = zoo.create("painn", preset="small", elements=["H", "O"], dtype="float64")
        return [str(value.dtype) for value in model.state_dict().values()]

    state = torch.random.get_rng_state()
    in_eight_threads(run, rounds=1)
    assert torch.get_default_dtype() == torch.float32
    assert state.dtype == torch.uint8


def test_weights_need_gradients_again_when_the_last_thread_has_left():
    model = toy_model()
    with frozen(model):
        with frozen(model):
            pass
        assert not any(p.requires_grad for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_derivatives_inside_a_mode_without_gradients(mode):
    crystal = ase.build.bulk("Si", cubic=True)
    crystal.rattle(0.05, seed=0)
    model, wanted = toy_model(), ("forces", "stress")
    plain = model.predict(crystal, derivatives=wanted)
    graph = zoo.Graph.from_atoms(crystal, dtype=torch.float64)
    direct = model(graph, wanted)
    atoms = crystal.copy()
    with mode():
        assert_equal(model.predict(crystal, derivatives=wanted), plain)
        made_inside = zoo.Graph.from_atoms(crystal, dtype=torch.float64)
        for given in (graph, made_inside):
            assert_equal({k: v.numpy() for k, v in model(given, wanted).items()},
                         {k: v.detach().numpy() for k, v in direct.items()})
        atoms.calc = model.calculator()
        np.testing.assert_allclose(atoms.get_forces(), plain["forces"], atol=1e-12)
        moving = model.dynamics(crystal, temperature=300.0)
        moving.step(2)
        made = zoo.create("painn", preset="small", elements=["Si"])
    moving.step(2)
    assert np.isfinite(moving.pos.numpy()).all()
    atoms.rattle(0.01)
    assert np.isfinite(atoms.get_forces()).all()
    assert_equal(model.predict(made_inside, derivatives=wanted), plain)
    assert np.isfinite(made.predict(crystal, derivatives=["forces"])["forces"]).all()


def test_uncertainty_inside_inference_mode(qm9):
    plain = qm9.predict(MOLECULES[0], uncertainty=True)
    with torch.inference_mode():
        assert_equal(qm9.predict(MOLECULES[0], uncertainty=True), plain)
