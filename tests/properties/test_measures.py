"""What is measured of a force field: bonds, stability, drift, equation of state, how far data reach."""

from __future__ import annotations

import ase
import ase.build
import ase.units
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.phonons import Phonons
from springs import morse_model, spoilt

from zoo.cards.sections import Domain
from zoo.errors import CardError, DataError, StructureError
from zoo.properties import (
    Bonds,
    CoverageMonitor,
    energy_drift,
    equation_of_state,
    hessian,
    stability,
    training_coverage,
)
from zoo.simulation import Dynamics


def test_bonds_of_molecules_and_crystals():
    ethanol = Bonds.of(ase.build.molecule("CH3CH2OH"))
    assert sorted(ethanol.kinds) == ["C-C", *["C-H"] * 5, "C-O", "H-O"]
    silicon = ase.build.bulk("Si")
    bonds = Bonds.of(silicon)
    assert bonds.kinds == ("Si-Si",) * 4
    np.testing.assert_allclose(bonds.lengths(torch.from_numpy(silicon.positions)[None])[0], 5.43 * 3**0.5 / 4)
    # One atom whose neighbours are its own images: twelve of them, each bond once.
    assert len(Bonds.of(ase.build.bulk("Cu")).kinds) == 6


def test_a_proton_may_change_its_oxygen_and_a_carbon_may_not():
    atoms = ase.Atoms("OHOC", positions=[[0, 0, 0], [0.97, 0, 0], [2.5, 0, 0], [0, 1.4, 0]])
    bonds = Bonds.of(atoms)
    assert sorted(bonds.kinds) == ["C-O", "H-O"]
    moved = atoms.positions.copy()
    moved[1] = [1.53, 0, 0]
    moved[3] = [2.5, 1.4, 0]
    lengths = dict(zip(bonds.kinds, bonds.lengths(torch.from_numpy(moved)[None])[0].tolist()))
    assert lengths["H-O"] == pytest.approx(0.97)
    assert lengths["C-O"] == pytest.approx(np.hypot(2.5, 1.4))


def test_bonds_through_a_boundary_are_followed_as_atoms_move():
    crystal = ase.build.bulk("Si", cubic=True)
    bonds = Bonds.of(crystal)
    assert len(bonds.kinds) == 16
    far = crystal.positions + np.array([7.0, -3.0, 11.0])
    np.testing.assert_allclose(bonds.lengths(torch.from_numpy(far)[None])[0], bonds.equilibrium)


def test_strong_bonds_survive_the_heat_that_breaks_weak_ones():
    kwargs = {"temperatures": (100, 6000), "seeds": 4, "picoseconds": 0.2, "timestep": 1.0, "friction": 0.05}
    water = ase.build.molecule("O2")
    report = stability(morse_model(depth=0.3), water, data=[water, water], **kwargs)["at"]
    cold, hot = report["100 K"], report["6000 K"]
    assert (cold["survived"], cold["of"], cold["first_failure_ps"]) == (4, 4, None)
    assert hot["survived"] < 4 and 0 < hot["first_failure_ps"] < 0.2
    assert cold["lost"] == {} and hot["lost"] == {"O-O": 4 - hot["survived"]}
    bond = cold["bonds"]["O-O"]
    assert bond["std_A"] > 0 and bond["data_std_A"] == 0
    assert bond["distance_A"] >= abs(bond["mean_A"] - bond["data_mean_A"]) - 1e-3


def test_a_run_without_finite_forces_does_not_survive():
    report = stability(spoilt(morse_model(), element=8), ase.build.molecule("H2O"), seeds=2, picoseconds=0.05)
    assert [at["survived"] for at in report["at"].values()] == [0, 0]
    assert [at["lost"] for at in report["at"].values()] == [{"forces": 2}] * 2
    assert not report["start_relaxed"]


def test_stability_refuses_what_has_no_bonds_or_other_data():
    with pytest.raises(StructureError, match="bonded"):
        stability(morse_model(), ase.Atoms("H"))
    with pytest.raises(StructureError, match="frame 1"):
        stability(morse_model(), ase.build.molecule("H2O"), data=[ase.build.molecule(n) for n in ("H2O", "CH4")])


def test_drift_is_small_for_a_smooth_surface_and_large_for_a_long_step():
    water = morse_model().relax(ase.build.molecule("H2O"), fmax=0.01)
    good, bad = (energy_drift(morse_model(), water, picoseconds=0.1, equilibrate=0.02, timestep=t, every=5, seeds=2)
                 for t in (0.25, 3.0))
    assert good["failed"] == 0 and good["runs"] == 2
    assert abs(good["drift_meV_per_atom"]) < 0.1 < 1 < bad["largest_deviation_meV_per_atom"]


def test_the_equation_of_state_finds_its_minimum_from_afar():
    model = morse_model()
    found = equation_of_state(model, ase.build.bulk("Cu", a=3.9, cubic=True))
    relaxed = model.relax(ase.build.bulk("Cu", a=3.6, cubic=True), fmax=1e-3, cell=True)
    a = found["lattice_A"][0]
    assert a == pytest.approx(relaxed.cell.lengths()[0], abs=3e-3)
    # B = −V dP/dV, from the stress at two volumes.
    pressures, volumes = [], []
    for stretch in (0.999, 1.001):
        crystal = ase.build.bulk("Cu", a=relaxed.cell.lengths()[0] * stretch, cubic=True)
        crystal.calc = model.calculator()
        pressures.append(-crystal.get_stress()[:3].mean())
        volumes.append(crystal.get_volume())
    bulk = -np.mean(volumes) * np.diff(pressures)[0] / np.diff(volumes)[0] / ase.units.GPa
    assert found["bulk_modulus_GPa"] == pytest.approx(bulk, rel=0.03)
    with pytest.raises(StructureError, match="three dimensions"):
        equation_of_state(model, ase.build.molecule("H2O"))


def test_phonons_of_ase_are_those_of_the_exact_hessian(tmp_path):
    # The Hessian of a supercell has the frequencies of all wave vectors that fit into it.
    model = morse_model(cutoff=3.4)
    crystal = ase.build.bulk("Cu", a=equation_of_state(model, ase.build.bulk("Cu", cubic=True))["lattice_A"][0])
    n = 3
    phonons = Phonons(crystal, model.calculator(), supercell=(n, n, n), delta=1e-3, name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    grid = np.stack(np.meshgrid(*[np.arange(n) / n] * 3), -1).reshape(-1, 3)
    finite = np.sort(np.concatenate([phonons.band_structure([q])[0] for q in grid]))
    supercell = crystal * (n, n, n)
    mass = np.repeat(supercell.get_masses(), 3)
    squared = np.linalg.eigvalsh(hessian(model, supercell) / np.sqrt(np.outer(mass, mass)))
    exact = np.sqrt(squared.clip(min=0)) * ase.units._hbar * 1e10 / np.sqrt(ase.units._e * ase.units._amu)
    np.testing.assert_allclose(finite[3:], exact[3:], atol=2e-4 * exact.max())


def labelled(name, stretch, force):
    atoms = ase.build.molecule(name)
    atoms.positions *= stretch
    atoms.calc = SinglePointCalculator(atoms, forces=np.full((len(atoms), 3), force / 3**0.5))
    return atoms


def test_reach_of_data_is_the_span_of_bonds_and_the_largest_force():
    frames = [labelled("H2O", 1.0, 1.0), labelled("H2O", 1.1, 4.0)]
    length = frames[0].get_distance(0, 1)
    for reach in (training_coverage(frames), training_coverage(frames, reference=frames[0])):
        assert reach == {"bonds": {"H-O": [round(length, 3), round(1.1 * length, 3)]}, "max_force": 4.0}
    # A bond that is broken in some frame is followed only where the reference says that it is one.
    frames.append(labelled("H2O", 2.0, 0.5))
    assert training_coverage(frames, reference=frames[0])["bonds"]["H-O"][1] == pytest.approx(2 * length, abs=1e-3)
    assert training_coverage(frames)["bonds"]["H-O"][1] < 1.2 * length
    frames[1].positions[0] = np.nan
    with pytest.raises(DataError, match="frame 1 has positions that are not finite"):
        training_coverage(frames)
    with pytest.raises(DataError, match="frame 1"):
        training_coverage([frames[0], ase.build.molecule("CH4")], reference=frames[0])
    with pytest.raises(DataError, match="no frames"):
        training_coverage([])


def test_leaving_the_data_is_said_once_and_counted():
    start = ase.build.molecule("H2O")
    length = start.get_distance(0, 1)
    run = Dynamics(morse_model(), start)
    watch = CoverageMonitor(Domain(elements=["H", "O"], bonds={"H-O": [length - 0.01, length + 0.01]}, max_force=0.01),
                        [start])
    assert [text.split(": ", 1)[1][:7] for text in watch.check(run)] == ["a force"]
    run.graph = run.graph.replace(pos=run.pos * 1.2)
    (said,) = watch.check(run)
    assert "longer" in said and f"{1.2 * length:.2f} Å" in said
    run.graph = run.graph.replace(pos=run.pos * 0.5)
    (said,) = watch.check(run)
    assert "shorter" in said
    assert watch.check(run) == [] and watch.seen == {"force": 4, "H-O long": 1, "H-O short": 2}


def test_kinds_the_data_never_had_are_known_before_the_run():
    watch = CoverageMonitor(Domain(bonds={"H-O": [0.9, 1.1]}), [ase.build.molecule("CH3OH")])
    assert watch.unknown_kinds() == ["C-H", "C-O"] and not watch.silent
    assert CoverageMonitor(Domain(), [ase.build.molecule("H2O")]).silent


@pytest.mark.parametrize("bonds", [{"H-C": [1, 2]}, {"C": [1, 2]}, {"C-Qq": [1, 2]}, {"C-H": [2, 1]}, {"C-H": [1]}])
def test_a_card_refuses_ranges_that_are_none(bonds):
    from zoo.cards.card import Card

    with pytest.raises(CardError, match="bonds"):
        Card.from_dict({"schema": 1, "name": "x", "architecture": "painn",
                        "targets": {"energy": {"readout": "energy", "unit": "eV"}}, "domain": {"bonds": bonds}})
