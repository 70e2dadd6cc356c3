"""OpenMM: what its force gives is what the model gives, in its units, for all particles or for some."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import ase.build
import ase.units
import numpy as np
import pytest

import zoo
from zoo.engines.openmm import make_force
from zoo.errors import MissingExtraError, ZooError

ROOT = Path(__file__).resolve().parents[2]
KJ = 96.4853321233  # kJ/mol per eV, CODATA 2018


@pytest.fixture
def openmm():
    return pytest.importorskip("openmm", reason="pip install openmm")


@pytest.fixture(scope="module")
def ethanol():
    return zoo.load("painn-ethanol")


def molecule() -> ase.Atoms:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.03, seed=0)
    return atoms


def context_of(openmm, force, atoms, *, others=0, timestep=0.0005, box=None, integrator=None):
    """A context whose first particles are others, of no force; positions in nm."""
    system = openmm.System()
    for mass in [1.0] * others + list(atoms.get_masses()):
        system.addParticle(mass)
    if box is not None:
        system.setDefaultPeriodicBoxVectors(*(box / 10))
    system.addForce(force)
    context = openmm.Context(system, integrator or openmm.VerletIntegrator(timestep),
                             openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.concatenate([np.full((others, 3), 5.0), atoms.positions / 10]))
    return context


def numbers(context):
    state = context.getState(energy=True, forces=True, positions=True)
    return state.getPotentialEnergy()._value / KJ, state.getForces(asNumpy=True)._value / KJ / 10, state


def test_without_openmm_the_extra_is_named(monkeypatch, ethanol):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*openmm"):
        make_force(ethanol, ["H"])


@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 4])
def test_a_molecule_alone_and_among_others(openmm, ethanol, others):
    atoms = molecule()
    symbols = ["He"] * others + list(atoms.symbols)
    particles = range(others, len(symbols)) if others else None
    force = make_force(ethanol, symbols, particles=particles, dtype="float64")
    energy, forces, _ = numbers(context_of(openmm, force, atoms, others=others))
    atoms.calc = ethanol.calculator(dtype="float64")
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.abs(forces[others:] - atoms.get_forces()).max() < 1e-6 and not forces[:others].any()


@pytest.mark.slow
def test_a_crystal_in_a_skewed_box_and_its_topology(openmm):
    silicon = zoo.load("nequip-si")
    atoms = ase.build.bulk("Si", cubic=True)
    atoms.set_cell([[5.43, 0, 0], [0.4, 5.5, 0], [-0.3, 0.2, 5.4]], scale_atoms=True)
    atoms.rattle(0.1, seed=0)
    from openmm import app

    topology = app.Topology()
    residue = topology.addResidue("SI", topology.addChain())
    for number in range(len(atoms)):
        topology.addAtom(f"S{number}", app.element.silicon, residue)
    topology.setPeriodicBoxVectors(np.asarray(atoms.cell) / 10 * openmm.unit.nanometer)
    force = make_force(silicon, topology, dtype="float64")
    assert force.usesPeriodicBoundaryConditions()
    energy, forces, _ = numbers(context_of(openmm, force, atoms, box=np.asarray(atoms.cell)))
    atoms.calc = silicon.calculator(dtype="float64")
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert np.abs(forces - atoms.get_forces()).max() < 1e-6


@pytest.mark.slow
def test_the_energy_is_conserved_and_a_langevin_run_has_its_temperature(openmm, ethanol):
    atoms = molecule()
    force = make_force(ethanol, list(atoms.symbols), dtype="float64")
    context = context_of(openmm, force, atoms)
    context.setVelocitiesToTemperature(300, 1)
    total = []
    for _ in range(20):
        context.getIntegrator().step(25)
        state = context.getState(energy=True)
        total.append((state.getPotentialEnergy()._value + state.getKineticEnergy()._value) / KJ)
    assert np.ptp(total) / len(atoms) < 1e-3 and abs(np.polyfit(range(20), total, 1)[0] * 20) / len(atoms) < 5e-4
    thermostat = openmm.LangevinMiddleIntegrator(300, 50.0, 0.001)
    thermostat.setRandomNumberSeed(1)
    context = context_of(openmm, make_force(ethanol, list(atoms.symbols)), atoms, integrator=thermostat)
    kinetic = []
    for _ in range(100):
        thermostat.step(5)
        kinetic.append(context.getState(energy=True).getKineticEnergy()._value)
    degrees = 3 * len(atoms)
    assert np.mean(kinetic[20:]) * 2 / degrees / 0.00831446 == pytest.approx(300, rel=0.2)


@pytest.mark.slow
def test_a_force_can_be_serialised_and_gives_the_same(openmm, ethanol):
    atoms = molecule()
    force = make_force(ethanol, list(atoms.symbols), dtype="float64")
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(force))
    assert numbers(context_of(openmm, again, atoms))[0] == numbers(context_of(openmm, force, atoms))[0]


@pytest.mark.slow
def test_what_the_model_refuses_ends_the_step_with_its_reason(openmm, ethanol):
    atoms = molecule()
    atoms.positions[1] = atoms.positions[0] + 0.01
    context = context_of(openmm, make_force(ethanol, list(atoms.symbols)), atoms)
    with pytest.raises(Exception, match=r"Å apart"):
        context.getState(energy=True)


@pytest.mark.slow
@pytest.mark.parametrize(("elements", "particles", "reason"), [
    (["C", "Q"], None, r"particle 1 \(Q\)"), ("CO", None, "one text"), (["C", "O"], [0, 0], "different indices"),
    (["C", "O"], [2], "below 2"), (["C"], [], "different indices"), ([], None, "below 0")])
def test_particles_that_make_no_sense_are_refused(openmm, ethanol, elements, particles, reason):
    with pytest.raises(ZooError, match=rf"{reason}.* Fix: "):
        make_force(ethanol, elements, particles=particles)


@pytest.mark.slow
def test_the_programs_of_the_guide_run(openmm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "guides" / "openmm.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(programs) == 2
    space: dict = {}
    for program in programs:
        exec(compile(program.replace("step(20000)", "step(20)"), "openmm.md", "exec"), space)
    assert np.isfinite(space["energy"])
