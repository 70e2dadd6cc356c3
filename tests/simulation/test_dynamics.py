"""Batched dynamics: ASE's trajectories in NVE, the canonical ensemble in NVT, and nothing shared but the clock."""

from __future__ import annotations

import ase
import ase.build
import ase.units
import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from springs import morse_model, spoilt

from zoo.errors import StructureError, ZooError
from zoo.simulation import Dynamics
from zoo.simulation.noise import Noise


def warm(*names, kelvin=300):
    found = [ase.build.molecule(name) for name in names]
    for number, atoms in enumerate(found):
        spread = np.sqrt(atoms.get_masses()[:, None] * ase.units.kB * kelvin)
        atoms.set_momenta(spread * np.random.default_rng(number).standard_normal((len(atoms), 3)))
    return found


def test_velocity_verlet_is_that_of_ase():
    model = morse_model()
    starts = [*warm("H2O", "CH3OH"), ase.build.bulk("Cu", a=3.4, cubic=True)]
    ours = Dynamics(model, starts, timestep=0.7)
    ours.step(60)
    for start, end in zip(starts, ours.atoms()):
        theirs = start.copy()
        theirs.calc = model.calculator()
        VelocityVerlet(theirs, timestep=0.7 * ase.units.fs).run(60)
        np.testing.assert_allclose(end.positions, theirs.positions, atol=1e-8)
        np.testing.assert_allclose(end.get_momenta(), theirs.get_momenta(), atol=1e-8)
        assert end.get_kinetic_energy() + end.get_potential_energy() == pytest.approx(
            theirs.get_kinetic_energy() + theirs.get_potential_energy(), abs=1e-9)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_the_error_of_the_conserved_energy_falls_with_the_square_of_the_time_step(ensemble):
    model = morse_model()
    start = model.relax(ase.build.molecule("H2O"), fmax=1e-3, steps=1000)
    worst = []
    for timestep in (0.4, 0.2):
        run = Dynamics(model, [start] * 6, timestep=timestep, ensemble=ensemble, temperature=300, friction=0.02)
        energies = [run.conserved]
        for _ in range(round(40 / timestep)):
            run.step()
            energies.append(run.conserved)
        worst.append(float((torch.stack(energies) - energies[0]).square().mean().sqrt()))
    assert 2.5 < worst[0] / worst[1] < 6.5


def test_langevin_dynamics_samples_the_canonical_ensemble():
    # Diatomics that do not feel each other: ⟨V − V₀⟩ = kT/2 for their one vibration, ⟨K⟩ = 3kT for two atoms.
    model, kelvin = morse_model(), 150.0
    start = model.relax(ase.build.molecule("O2"), fmax=1e-5, steps=2000)
    run = Dynamics(model, [start] * 100, ensemble="nvt", temperature=kelvin, timestep=1.0, friction=0.05)
    run.step(100)
    potential, kinetic = [], []
    for _ in range(25):
        run.step(10)
        potential.append(float(run.potential.mean()) - start.get_potential_energy())
        kinetic.append(float(run.kinetic.mean()))
    half = ase.units.kB * kelvin / 2
    assert np.mean(kinetic) == pytest.approx(6 * half, rel=0.06)
    assert np.mean(potential) == pytest.approx(half, rel=0.12)
    assert float(run.temperature.mean()) == pytest.approx(kelvin, rel=0.15)


def test_neither_company_nor_interruption_changes_a_run():
    model = morse_model()
    one, other = (ase.build.molecule(name) for name in ("H2O", "CH4"))
    options = {"ensemble": "nvt", "timestep": 0.5}
    alone = Dynamics(model, one, temperature=300, seed=7, **options)
    together = Dynamics(model, [other, one], temperature=[100, 300], seed=[1, 7], **options)
    for run in (alone, together):
        run.step(70)
    np.testing.assert_allclose(together.pos[len(other):], alone.pos, atol=1e-9)
    again = Dynamics(model, one, temperature=300, seed=7, **options)
    again.step(31)
    state = again.state_dict()
    resumed = Dynamics(model, one, temperature=300, seed=7, **options)
    resumed.load_state_dict(state)
    resumed.step(39)
    assert torch.equal(resumed.pos, alone.pos) and torch.equal(resumed.velocity, alone.velocity)
    assert torch.equal(resumed.conserved, alone.conserved) and resumed.steps_done == 70


def test_seeds_differ_and_repeat():
    model, start = morse_model(), ase.build.molecule("H2O")
    ends = []
    for _ in range(2):
        run = Dynamics(model, [start] * 3, ensemble="nvt", temperature=300, seed=5)
        run.step(20)
        ends.append(run.pos.reshape(3, 3, 3))
    assert torch.equal(*ends)
    assert (ends[0][0] - ends[0][1]).abs().max() > 1e-3 < (ends[0][1] - ends[0][2]).abs().max()


def test_noise_depends_on_seed_and_step_alone():
    ptr = torch.tensor([0, 2, 5])
    noise = Noise([3, 4], ptr, torch.device("cpu"))
    forward = [noise.at(step) for step in (0, 1, 200)]
    backward = [noise.at(step) for step in (200, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward))
    assert torch.equal(Noise([4], ptr[:2] * 0 + torch.tensor([0, 3]), torch.device("cpu")).at(200), forward[2][2:])
    assert len({float(x[0, 0]) for x in [*forward, noise.initial()]}) == 4


def test_the_centre_of_mass_starts_at_rest_and_the_temperature_is_the_one_asked_for():
    start = ase.build.bulk("Cu", a=3.3, cubic=True) * (3, 3, 3)
    run = Dynamics(morse_model(), start, temperature=500)
    momentum = run.atoms()[0].get_momenta().sum(0)
    np.testing.assert_allclose(momentum, 0, atol=1e-10)
    assert float(run.temperature) == pytest.approx(500, rel=0.2)


def test_a_run_that_blows_up_stands_still_and_the_others_go_on():
    model = morse_model()
    runs = [ase.build.molecule("CH4"), ase.build.molecule("H2O")]
    alone = Dynamics(model, runs[0], temperature=300, ensemble="nvt")
    alone.step(20)
    run = Dynamics(model, runs, temperature=300, ensemble="nvt")
    run.step(5)
    held = run.pos[5:].clone()
    spoilt(model, element=8)
    run.step(15)
    assert run.failed.tolist() == [False, True]
    np.testing.assert_allclose(run.pos[5:], held)
    np.testing.assert_allclose(run.pos[:5], alone.pos, atol=1e-9)
    assert bool(run.pos.isfinite().all()) and float(run.kinetic[1]) == 0


def test_a_time_step_that_nothing_can_follow_stops_its_run_alone():
    still = ase.build.molecule("CH4")
    hot = ase.build.molecule("H2O")
    hot.set_momenta(np.full((3, 3), 1e3))
    run = Dynamics(morse_model(), [still, hot], timestep=0.5)
    with_others = Dynamics(morse_model(), still, timestep=0.5)
    run.step(12)
    with_others.step(12)
    assert run.failed.tolist() == [False, True] and "moved by more than 2 Å" in run.reasons[1]
    np.testing.assert_array_equal(run.pos[5:], hot.positions)
    np.testing.assert_allclose(run.pos[:5], with_others.pos, atol=1e-12)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_an_absurd_time_step_ends_in_failure_and_not_in_a_long_walk(ensemble):
    run = Dynamics(morse_model(), ase.build.molecule("CH4"), timestep=1000.0, ensemble=ensemble, temperature=300)
    run.step(30)
    assert run.failed.all() and "(step " in run.reasons[0]
    assert abs(run.pos).max() < 100 and run.pos.isfinite().all()


def test_a_temperature_beyond_all_chemistry_is_a_failure():
    lone = ase.Atoms("Cu", velocities=[[1.0, 0, 0]])  # 2.6e5 K, at steps of 0.05 Å
    run = Dynamics(morse_model(), lone, timestep=0.5)
    run.step(12)
    assert run.failed.all() and "temperature" in run.reasons[0]


def test_atoms_on_top_of_each_other_are_a_failure():
    # Without any size the minimum of a pair is at distance zero.
    run = Dynamics(morse_model(size=0.0), ase.Atoms("H2", [[0, 0, 0], [0.3, 0, 0]]), timestep=0.2)
    run.step(60)
    assert run.failed.all() and "closer" in run.reasons[0]


@pytest.mark.parametrize("option", [{"timestep": np.inf}, {"timestep": np.nan}, {"temperature": np.nan},
                                    {"temperature": [np.inf]}])
def test_options_that_are_not_finite_are_refused(option):
    with pytest.raises(ZooError, match="Fix: "):
        Dynamics(morse_model(), ase.build.molecule("CH4"), **option)


def test_held_atoms_do_not_move():
    start = ase.build.fcc111("Cu", (2, 2, 3), vacuum=6.0)
    start.set_constraint(FixAtoms([0, 1, 2, 3]))
    run = Dynamics(morse_model(), start, ensemble="nvt", temperature=600)
    run.step(15)
    moved = (run.pos - torch.from_numpy(start.positions)).norm(dim=1)
    assert moved[:4].max() == 0 < moved[4:].min()
    assert float(run.temperature) > 100


def test_trajectories_come_as_lists_of_atoms():
    run = Dynamics(morse_model(), warm("H2O", "CH4"))
    water, methane = run.run(25, every=10)
    assert run.steps_done == 25
    assert [len(t) for t in (water, methane)] == [2, 2] and len(methane[0]) == 5
    assert np.isfinite(water[1].get_potential_energy()) and water[0].get_forces().shape == (3, 3)
    assert abs(water[0].positions - water[1].positions).max() > 1e-4


@pytest.mark.parametrize(("steps", "every"), [(-1, 1), (5, 0), (5, -2)])
def test_a_run_of_no_length_is_refused_and_one_of_zero_steps_is_none(steps, every):
    run = Dynamics(morse_model(), warm("H2O"))
    with pytest.raises(ZooError, match=r"no such run\. Fix: "):
        run.run(steps, every=every)
    assert run.run(0) == [[]] and run.steps_done == 0


def test_a_model_in_training_is_afterwards_as_it_was():
    model = morse_model().train()
    Dynamics(model, ase.build.molecule("H2O")).step(2)
    assert model.training and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("options, message", [
    ({"ensemble": "npt"}, "nve"), ({"ensemble": "nvt"}, "temperature"), ({"timestep": 0}, "positive"),
    ({"ensemble": "nvt", "temperature": 300, "friction": 0}, "friction"), ({"temperature": -1}, "negative"),
    ({"temperature": [1, 2]}, "2 temperatures for 1"), ({"seed": [1, 2]}, "2 seeds for 1"),
])
def test_options_without_sense_are_refused(options, message):
    with pytest.raises(ZooError, match=message):
        Dynamics(morse_model(), ase.build.molecule("H2O"), **options)


def test_a_strange_element_is_refused_by_number():
    with pytest.raises(StructureError, match="structure 1: Fe"):
        Dynamics(morse_model(), [ase.build.molecule("H2O"), ase.Atoms("Fe")])
