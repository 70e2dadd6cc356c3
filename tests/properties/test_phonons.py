"""Phonons from exact second derivatives: against sums over an infinite crystal, and against ASE's displacements."""

from __future__ import annotations

import ase.build
import ase.units
import numpy as np
import pytest
import torch
from springs import Morse, morse_model

import zoo
from zoo.errors import StructureError, ZooError
from zoo.properties import Phonons, equation_of_state, phonons, primitive_cell
from zoo.properties.lattice_dynamics import displaced
from zoo.simulation import relax

SOME = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.5], [0.17, -0.31, 0.08], [0.4, 0.1, 0.22]]


def copper(model, **kwargs):
    a = equation_of_state(model, ase.build.bulk("Cu", cubic=True))["lattice_A"][0]
    return ase.build.bulk("Cu", a=a, **kwargs)


def of_pairs(crystal, cutoff, points):
    """THz of one atom a cell that its images pull by the Morse pairs: Born's sum over the infinite crystal."""
    reach = np.arange(-8, 9)
    steps = np.stack(np.meshgrid(reach, reach, reach), -1).reshape(-1, 3) @ crystal.cell.array
    steps = steps[(np.linalg.norm(steps, axis=1) > 0) & (np.linalg.norm(steps, axis=1) < cutoff)]
    backbone, bond = Morse(cutoff=cutoff), 2 * Morse().radius[29].double()

    def pair(vector):
        d = vector.norm()
        well = (1 - torch.exp(-backbone.width * (d - bond))) ** 2 - 1
        return backbone.depth * well * (1 - (d / cutoff) ** 2) ** 3

    constants = [torch.autograd.functional.hessian(pair, torch.tensor(step)).numpy() for step in steps]
    wave = 2 * np.pi * np.asarray(points) @ np.asarray(crystal.cell.reciprocal())
    matrices = [sum(k * (1 - np.cos(step @ q)) for k, step in zip(constants, steps)) for q in wave]
    squared = np.array([np.linalg.eigvalsh(m) for m in matrices]) / crystal.get_masses()[0]
    return np.sqrt(squared.clip(min=0)) * np.sqrt(ase.units._e * 1e20 / ase.units._amu) / (2e12 * np.pi)


@pytest.mark.parametrize("cutoff, supercell", [(3.4, (2, 2, 2)), (3.4, (3, 3, 3)), (5.5, (5, 6, 5))])
def test_frequencies_are_those_of_the_infinite_crystal_at_any_wave_vector(cutoff, supercell):
    # In the 2 × 2 × 2 supercell every neighbour lies on the boundary, in two images at once.
    model = morse_model(cutoff=cutoff)
    crystal = copper(model)
    found = Phonons.of(model, crystal, supercell)
    np.testing.assert_allclose(found.frequencies(SOME), of_pairs(crystal, cutoff, SOME), atol=1e-6)
    assert found.residue < 1e-10
    matrix = found.dynamical_matrix(SOME[3])
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-12)


def test_what_the_supercell_is_too_small_for_shows_at_its_edge():
    model = morse_model(cutoff=5.5)
    crystal = copper(model)
    small, large = (Phonons.of(model, crystal, (n, n, n)) for n in (2, 6))
    assert small.edge > 100 * large.edge
    off = abs(small.frequencies(SOME) - large.frequencies(SOME)).max(1)
    assert small.fits(SOME[1]) and not small.fits(SOME[3])
    assert off[:3].max() < 1e-5 < 1e-2 < off[3:].min()


def test_two_kinds_of_atoms_agree_with_displacements_of_ase():
    model = morse_model(cutoff=4.0)
    crystal = relax(model, ase.build.bulk("CuC", "rocksalt", a=4.2), fmax=1e-4, cell=True, steps=2000)
    found = Phonons.of(model, crystal, (3, 2, 4))
    points = [q for q in found.grid() if q.any()]
    finite = displaced(model, found, points, delta=1e-3)
    np.testing.assert_allclose(finite, found.frequencies(points), atol=1e-4 * found.frequencies(points).max())


def test_the_frequencies_of_a_crystal_do_not_hang_on_the_cell_that_is_given():
    model = morse_model(cutoff=3.4)
    one = phonons(model, copper(model), supercell=(4, 4, 4)).report()
    turned = copper(model, cubic=True)
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    other = phonons(model, turned, supercell=(4, 4, 4)).report()
    assert one["structure"] == other["structure"] == "Cu" and set(one["points"]) == {"Γ", "X", "W", "K", "L", "U"}
    for label, point in one["points"].items():
        np.testing.assert_allclose(point["THz"], other["points"][label]["THz"], atol=2e-3)
        np.testing.assert_allclose(np.array(point["per_cm"]), np.array(point["THz"]) * 33.35641, atol=0.06)
    assert one["imaginary"] == 0 and one["points"]["Γ"]["THz"] == [0.0, 0.0, 0.0]


def test_a_structure_that_is_no_minimum_has_imaginary_frequencies():
    # Simple cubic copper with bonds to nearest neighbours only shears away.
    model = morse_model(cutoff=3.4)
    square = ase.build.bulk("Cu", "sc", a=2.7)
    report = phonons(model, square, supercell=(4, 4, 4), relax=False).report()
    assert report["imaginary"] > 0 and report["lowest_THz"] < -0.1
    assert min(report["points"]["M"]["THz"]) < -0.1


def test_molecules_and_supercells_that_are_none_are_refused():
    with pytest.raises(StructureError, match="three dimensions"):
        phonons(morse_model(), ase.build.molecule("H2O"))
    with pytest.raises(ZooError, match="supercell"):
        phonons(morse_model(), ase.build.bulk("Cu"), supercell=(2, 2, 0))


@pytest.mark.parametrize("make, atoms", [
    (lambda: ase.build.bulk("Si", cubic=True) * (2, 1, 3), 2), (lambda: ase.build.bulk("NaCl", "rocksalt", a=5.6), 2),
    (lambda: ase.build.bulk("Fe", cubic=True), 1), (lambda: ase.build.bulk("Mg") * (1, 2, 2), 2),
    (lambda: ase.build.make_supercell(ase.build.bulk("Si"), [[1, 2, 0], [0, 1, 0], [1, 0, 3]]), 2),
])
def test_the_primitive_cell_repeats_to_the_crystal(make, atoms):
    crystal = make()
    crystal.positions += [0.3, -0.2, 0.1]
    small = primitive_cell(crystal)
    assert len(small) == atoms and small.cell.volume > 0
    assert small.cell.volume / atoms == pytest.approx(crystal.cell.volume / len(crystal))
    # Every atom of the crystal is one of the cell's, a whole translation away.
    for atom in crystal:
        apart = (small.positions[small.numbers == atom.number] - atom.position) @ np.linalg.inv(small.cell.array)
        assert abs(apart - apart.round()).max(1).min() < 1e-6


def test_a_rattled_or_marked_crystal_has_no_smaller_cell():
    rattled, isotopes = ase.build.bulk("Si", cubic=True), ase.build.bulk("Si", cubic=True)
    rattled.rattle(0.02, seed=0)
    isotopes.set_masses([29.0, *isotopes.get_masses()[1:]])
    assert len(primitive_cell(rattled)) == len(primitive_cell(isotopes)) == 8


def test_silicon_agrees_with_displacements_of_ase_at_the_zone_boundary():
    model = zoo.load("nequip-si", dtype="float64")
    found = phonons(model, ase.build.bulk("Si", cubic=True), supercell=(2, 2, 2))
    special = found.path().special_points
    points = [special[label] for label in "GXL"]
    exact = found.frequencies(points)
    # The root magnifies what ASE's sum rule leaves of the three zeros at Γ.
    off = [abs(displaced(model, found, points, delta=delta) - exact)[abs(exact) > 0.1].max() for delta in (1e-2, 1e-3)]
    # The error of a central difference falls with the square of the step.
    assert off[1] < 1e-4 and off[0] < 0.01
    assert off[1] < 0.03 * off[0]
    # Three zeros at Γ above which a degenerate optical mode is highest; pairs at X.
    assert abs(exact[0, :3]).max() < 1e-4 and np.ptp(exact[0, 3:]) < 1e-3 and exact[0, 3] > 13
    np.testing.assert_allclose(exact[1, ::2], exact[1, 1::2], atol=1e-3)
