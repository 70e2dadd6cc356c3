"""The ASE calculator: right numbers, no stale ones."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize import FIRE
from toy import toy_model

from zoo.errors import StructureError, ZooError


def ethanol():
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.calc = toy_model().calculator()
    return atoms


def silicon():
    atoms = ase.build.bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = toy_model().calculator()
    return atoms


@pytest.mark.parametrize("make", [ethanol, silicon])
def test_forces_agree_with_finite_differences_of_ase(make):
    atoms = make()
    from ase.calculators.fd import calculate_numerical_forces

    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 2])
    np.testing.assert_allclose(atoms.get_forces()[[0, 2]], numeric, atol=1e-7)


def test_stress_agrees_with_finite_differences_of_ase():
    from ase.calculators.fd import calculate_numerical_stress

    atoms = silicon()
    atoms.set_cell(atoms.cell * 0.96, scale_atoms=True)
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numeric, atol=1e-8)
    assert abs(numeric).max() > 1e-5


def test_the_skin_changes_no_number_on_a_long_walk():
    rng = np.random.default_rng(0)
    kept, fresh = silicon(), silicon()
    fresh.calc = toy_model().calculator(skin=0.0)
    lists = set()
    for _ in range(12):
        step = 0.03 * rng.standard_normal(kept.positions.shape)
        for atoms in (kept, fresh):
            atoms.positions += step
        np.testing.assert_allclose(kept.get_forces(), fresh.get_forces(), atol=1e-12)
        assert kept.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-10)
        lists.add(id(kept.calc._neighbours))
    assert 1 < len(lists) < 12


def test_nothing_stale_after_a_change_of_cell_element_or_periodicity():
    atoms = silicon()
    seen = [atoms.get_potential_energy()]
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=False)
    seen.append(atoms.get_potential_energy())
    atoms.numbers[0] = 6
    seen.append(atoms.get_potential_energy())
    atoms.pbc = False
    seen.append(atoms.get_potential_energy())
    atoms.pop()
    seen.append(atoms.get_potential_energy())
    assert len(set(seen)) == len(seen)


def test_one_calculator_serves_two_structures_in_turn():
    first, second = ethanol(), ethanol()
    second.positions[0, 0] += 0.2
    apart = [first.get_potential_energy(), second.get_potential_energy()]
    second.calc = first.calc
    assert [first.get_potential_energy(), second.get_potential_energy(), first.get_potential_energy()] == pytest.approx(
        [apart[0], apart[1], apart[0]], abs=1e-12)


def test_results_are_kept_while_nothing_changes():
    atoms = ethanol()
    atoms.get_forces()
    assert not atoms.calc.calculation_required(atoms, ["energy", "forces"])
    atoms.rattle(0.01)
    assert atoms.calc.calculation_required(atoms, ["energy"])


def test_energies_sum_to_the_energy():
    atoms = ethanol()
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())


def test_a_relaxation_goes_downhill():
    atoms = ethanol()
    before = atoms.get_potential_energy()
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=20)
    assert atoms.get_potential_energy() < before


def test_what_it_cannot_do_is_said():
    with pytest.raises(ZooError, match="needs an energy"):
        toy_model("dipole").calculator()
    atoms = ethanol()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    atoms = ethanol()
    atoms.positions[1] = np.nan
    with pytest.raises(StructureError, match="not finite"):
        atoms.get_potential_energy()
