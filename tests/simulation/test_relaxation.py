"""Batched FIRE: the steps of ASE's, each structure on its own."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
from ase.constraints import FixAtoms, FixBondLength
from ase.filters import UnitCellFilter
from ase.optimize import FIRE
from springs import morse_model, spoilt

from zoo.errors import StructureError


def molecules():
    found = [ase.build.molecule(name) for name in ("H2O", "O2", "CH4")]
    for number, atoms in enumerate(found):
        atoms.rattle(0.08, seed=number)
    return found


def crystals():
    found = [ase.build.bulk("Cu", a=3.4, cubic=True), ase.build.bulk("Cu", a=3.3) * (2, 1, 1)]
    for number, atoms in enumerate(found):
        atoms.rattle(0.05, seed=number)
    return found


@pytest.mark.parametrize("make, cell", [(molecules, False), (crystals, False), (crystals, True)])
def test_every_structure_takes_the_steps_of_ase(make, cell):
    model, starts = morse_model(), make()
    done = model.relax(starts, fmax=0.02, steps=300, cell=cell)
    for start, ours in zip(starts, done):
        theirs = start.copy()
        theirs.calc = model.calculator()
        optimizer = FIRE(UnitCellFilter(theirs) if cell else theirs, logfile=None)
        optimizer.run(fmax=0.02, steps=300)
        assert ours.info["relax_steps"] == optimizer.nsteps > 3
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-8)
        np.testing.assert_allclose(ours.cell, theirs.cell, atol=1e-8)
        assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-9)
        assert ours.info["relax_converged"] and ours.info["relax_fmax"] < 0.02
    assert len({atoms.info["relax_steps"] for atoms in done}) > 1
    if cell:
        assert all(abs(atoms.get_stress()).max() < 0.02 / 5 for atoms in done)


def test_what_is_given_stays_as_it_is_and_one_comes_back_as_one():
    model, start = morse_model(), molecules()[0]
    before = start.positions.copy()
    done = model.relax(start, fmax=0.02)
    assert isinstance(done, ase.Atoms)
    np.testing.assert_array_equal(start.positions, before)
    assert start.calc is None and abs(done.get_forces()).max() < 0.02
    assert model.relax([]) == []


def test_small_batches_change_nothing():
    model = morse_model()
    together, apart = (model.relax(molecules(), fmax=0.02, max_atoms=n) for n in (100, 4))
    for one, other in zip(together, apart):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-9)


def test_too_few_steps_are_said():
    done = morse_model().relax(molecules(), fmax=1e-4, steps=2)
    assert [atoms.info["relax_converged"] for atoms in done] == [False] * 3
    assert [atoms.info["relax_steps"] for atoms in done] == [2] * 3


def test_held_atoms_stay_and_other_constraints_are_refused():
    start = ase.build.fcc111("Cu", (1, 2, 3), a=3.3, vacuum=6.0)
    start.rattle(0.1, seed=0)
    start.set_constraint(FixAtoms([0, 1]))
    done = morse_model().relax(start, fmax=0.05)
    np.testing.assert_array_equal(done.positions[:2], start.positions[:2])
    assert done.info["relax_converged"] and abs(done.positions[2:] - start.positions[2:]).max() > 0.01
    start.set_constraint(FixBondLength(0, 1))
    with pytest.raises(StructureError, match="FixBondLength"):
        morse_model().relax(start)


def test_a_structure_without_finite_forces_leaves_the_others_alone():
    model = spoilt(morse_model(), element=8)
    water, methane = ase.build.molecule("H2O"), ase.build.molecule("CH4")
    done = model.relax([water, methane], fmax=0.02)
    assert [atoms.info["relax_converged"] for atoms in done] == [False, True]
    np.testing.assert_array_equal(done[0].positions, water.positions)


def test_errors_take_the_place_of_structures():
    model = spoilt(morse_model(), element=8)
    charged = ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.8]], info={"total_charge": 1})
    lost, methane, ion = model.relax([ase.build.molecule("H2O"), ase.build.molecule("CH4"), charged], fmax=0.02,
                                     on_error="keep")
    assert "not finite after 0 steps" in str(lost) and "structure 2 has charge 1" in str(ion)
    assert methane.info["relax_converged"]
    assert str(model.relax(charged, on_error="keep")).startswith("the structure has charge 1")
    with pytest.raises(StructureError, match="structure 1 has charge"):
        model.relax([methane, charged])


def test_atoms_that_fell_onto_each_other_are_no_minimum():
    # Without any size the minimum of a pair is at distance zero, where the force vanishes.
    done = morse_model(size=0.0).relax(ase.build.molecule("O2"), fmax=0.02, steps=400)
    assert done.get_distance(0, 1) < 0.1 and done.info["relax_fmax"] < 0.02
    assert not done.info["relax_converged"]


def test_a_cell_needs_a_crystal():
    with pytest.raises(StructureError, match=r"structure 1 has no periodic direction.*Fix: "):
        morse_model().relax([crystals()[0], molecules()[0]], cell=True)


def slab(axis=2, *, vector=True):
    made = ase.build.bulk("Cu", a=3.3, cubic=True)
    made.rattle(0.05, seed=0)
    made.center(vacuum=6.0, axis=axis)
    made.pbc = [k != axis for k in range(3)]
    if not vector:
        made.cell[axis] = 0
    return made


def test_the_cell_of_a_slab_relaxes_in_its_plane_as_with_a_mask_of_ase():
    model = morse_model()
    ours = model.relax(slab(), fmax=0.02, steps=300, cell=True)
    theirs = slab()
    theirs.calc = model.calculator()
    optimizer = FIRE(UnitCellFilter(theirs, mask=[1, 1, 0, 0, 0, 1]), logfile=None)
    optimizer.run(fmax=0.02, steps=300)
    assert ours.info["relax_converged"] and ours.info["relax_steps"] == optimizer.nsteps > 3
    np.testing.assert_allclose(ours.cell, theirs.cell, atol=1e-8)
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-8)
    np.testing.assert_array_equal(ours.cell[2], slab().cell[2])
    assert abs(ours.cell.cellpar()[:2] - slab().cell.cellpar()[:2]).max() > 0.01
    assert abs(ours.get_stress()[[0, 1, 5]]).max() < 0.02 * 4 / ours.get_volume()


@pytest.mark.parametrize("axis", [0, 2])
def test_the_plane_of_a_slab_relaxes_alike_with_and_without_a_third_vector(axis):
    with_vector, without = (morse_model().relax(slab(axis, vector=v), fmax=0.02, cell=True) for v in (True, False))
    plane = [k for k in range(3) if k != axis]
    np.testing.assert_allclose(without.cell[plane], with_vector.cell[plane], atol=1e-8)
    np.testing.assert_array_equal(without.cell[axis], 0)
    assert without.info["relax_converged"] and "stress" not in without.calc.results


def test_a_wire_relaxes_along_its_axis():
    wire = ase.build.bulk("Cu", a=3.3, cubic=True)
    wire.center(vacuum=6.0, axis=(0, 1))
    wire.pbc = (False, False, True)
    done = morse_model().relax(wire, fmax=0.02, cell=True)
    np.testing.assert_array_equal(done.cell[:2], wire.cell[:2])
    assert done.info["relax_converged"] and abs(done.cell[2, 2] - wire.cell[2, 2]) > 0.01


def test_a_cell_that_collapses_leaves_the_others_alone():
    # Atoms without a size: crystals of them fall into themselves; hydrogen has one.
    model, start = morse_model(size=0.0, depth=40.0), ase.build.bulk("Cu", a=2.2)
    lone = ase.Atoms("H", cell=[9, 9, 9], pbc=True)
    done = model.relax([start, lone, start], fmax=1e-3, steps=200, cell=True)
    assert [atoms.info["relax_converged"] for atoms in done] == [False, True, False]
    assert np.isfinite(done[0].cell).all() and done[0].get_volume() > start.get_volume() / 8.1
