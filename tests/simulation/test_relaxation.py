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


def test_atoms_that_fell_onto_each_other_are_no_minimum():
    # Without any size the minimum of a pair is at distance zero, where the force vanishes.
    done = morse_model(size=0.0).relax(ase.build.molecule("O2"), fmax=0.02, steps=400)
    assert done.get_distance(0, 1) < 0.1 and done.info["relax_fmax"] < 0.02
    assert not done.info["relax_converged"]


def test_a_cell_needs_a_crystal():
    with pytest.raises(StructureError, match="three dimensions"):
        morse_model().relax(molecules(), cell=True)
