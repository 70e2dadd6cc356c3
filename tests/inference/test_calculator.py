"""The ASE calculator: right numbers, no stale ones."""

from __future__ import annotations

import copy
import pickle

import ase.build
import numpy as np
import pytest
import torch
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
        lists.add(kept.calc._potential.list.searches)
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


def test_a_charge_is_not_overlooked_after_a_calculation():
    # ASE compares neither info nor extra arrays.
    atoms = ethanol()
    atoms.get_potential_energy()
    atoms.info["charge"] = 1
    assert atoms.calc.calculation_required(atoms, ["energy"])
    with pytest.raises(StructureError, match="charge"):
        atoms.get_potential_energy()


def test_a_declared_input_counts_as_a_change():
    from zoo.loading.models import create

    torch.manual_seed(0)
    model = create("painn", preset="small", elements=["H", "O"], inputs=["charge"], dtype="float64")
    atoms = ase.build.molecule("H2O")
    atoms.calc = model.calculator()
    with pytest.raises(StructureError, match="charge"):
        atoms.get_potential_energy()
    atoms.info["charge"] = 0
    atoms.get_potential_energy()
    assert not atoms.calc.calculation_required(atoms, ["energy"])
    atoms.info["charge"] = -1
    assert atoms.calc.calculation_required(atoms, ["energy"])


def test_a_refused_structure_is_refused_every_time_it_asks():
    atoms = ethanol()
    atoms.numbers[0] = 26
    for _ in range(2):
        with pytest.raises(StructureError, match="Fe"):
            atoms.get_potential_energy()


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
@pytest.mark.parametrize("kind", ["toy", "named"])
def test_a_copy_is_a_calculator_of_its_own(twin, kind):
    atoms = ethanol()
    if kind == "named":
        from zoo.loading.models import create

        atoms.calc = create("schnet", preset="small", elements=["H", "C", "O"], dtype="float64").calculator()
    energy = atoms.get_potential_energy()
    other = atoms.copy()
    other.calc = twin(atoms.calc)
    other.positions[0, 0] += 0.3
    assert other.get_potential_energy() != pytest.approx(energy, abs=1e-6)
    assert atoms.get_potential_energy() == energy
    other.positions[:] = atoms.positions
    assert other.get_potential_energy() == pytest.approx(energy, abs=1e-12)


def test_double_precision_on_request_is_that_of_a_model_made_in_it():
    from zoo.loading.models import create

    torch.manual_seed(0)
    single = create("nequip", preset="small", elements=["H", "C", "O"])
    double = create("nequip", preset="small", elements=["H", "C", "O"], dtype="float64")
    double.load_state_dict(single.state_dict())
    energies = {}
    for name, calculator in {"single": single.calculator(), "asked": single.calculator(dtype="float64"),
                             "made": double.calculator()}.items():
        atoms = ase.build.molecule("CH3CH2OH")
        atoms.calc = calculator
        energies[name] = atoms.get_potential_energy()
    assert energies["asked"] == energies["made"] != energies["single"]
    assert single.dtype == torch.float32
    with pytest.raises(ZooError, match="float16"):
        single.calculator(dtype="float16")


def test_atoms_far_away_and_alone_feel_nothing():
    atoms = ase.Atoms("HO", positions=[[0, 0, 0], [0, 0, 50]])
    atoms.calc = toy_model().calculator()
    np.testing.assert_array_equal(atoms.get_forces(), 0)
    atoms.positions[1, 2] = 1.0
    assert abs(atoms.get_forces()).max() > 0


def test_what_comes_with_a_move_is_checked_too():
    # ASE reports the move alone: the charge is in atoms.info, and atoms may have moved onto each other.
    atoms = ethanol()
    atoms.get_potential_energy()
    atoms.info["charge"] = 1
    atoms.positions[0] += 0.01
    with pytest.raises(StructureError, match="charge"):
        atoms.get_potential_energy()
    del atoms.info["charge"]
    energy = atoms.get_potential_energy()
    atoms.positions[1] = atoms.positions[0] + [0, 0, 0.01]
    for _ in range(2):
        with pytest.raises(StructureError, match=r"atoms 0 and 1 are 0\.01 Å apart"):
            atoms.get_potential_energy()
    atoms = silicon()
    atoms.get_potential_energy()
    atoms.cell[2] = np.nan
    with pytest.raises(StructureError, match="not finite"):
        atoms.get_potential_energy()
    assert np.isfinite(energy)


def slab(pbc=(True, True, False)):
    atoms = silicon()
    atoms.set_cell(atoms.cell * 0.96, scale_atoms=True)
    atoms.center(vacuum=5.0, axis=[k for k in range(3) if not pbc[k]])
    atoms.pbc = pbc
    return atoms


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False), (False, True, True)])
def test_stress_of_a_slab_is_the_strain_derivative_per_volume_of_the_given_cell(pbc):
    from ase.calculators.fd import calculate_numerical_stress

    atoms = slab(pbc)
    numeric = calculate_numerical_stress(atoms, eps=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numeric, atol=1e-8)
    assert abs(numeric[pbc.index(True)]) > 1e-5
    flat = atoms.copy()
    flat.cell[[k for k in range(3) if not pbc[k]]] *= 2
    flat.calc = atoms.calc
    np.testing.assert_allclose(flat.get_stress() * flat.get_volume(), atoms.get_stress() * atoms.get_volume())


def test_a_slab_relaxes_with_the_filters_of_ase_and_a_mask():
    from ase.filters import FrechetCellFilter

    atoms = slab()
    before = atoms.cell.array.copy()
    filtered = FrechetCellFilter(atoms, mask=[1, 1, 0, 0, 0, 1])
    FIRE(filtered, logfile=None).run(fmax=1e-8, steps=5)
    assert abs(atoms.cell.array[:2, :2] - before[:2, :2]).max() > 1e-6
    np.testing.assert_allclose(atoms.cell[2], before[2])


def test_why_there_is_no_stress_is_said():
    atoms = slab()
    atoms.cell[2] = 0
    with pytest.raises(PropertyNotImplementedError, match=r"per volume.*vector c is absent.*Fix: "):
        atoms.get_stress()
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match=r"periodic directions.*none"):
        ethanol().get_stress()
    assert atoms.calc.get_property("stress", atoms, allow_calculation=False) is None


def test_stress_does_not_depend_on_the_handedness_of_the_cell():
    atoms = silicon()
    atoms.set_cell(atoms.cell * 0.96, scale_atoms=True)
    left = atoms.copy()
    left.set_cell(atoms.cell[[1, 0, 2]])
    left.calc = atoms.calc
    assert np.linalg.det(left.cell) < 0
    np.testing.assert_allclose(left.get_stress(), atoms.get_stress(), atol=1e-12)
    assert abs(atoms.get_stress()).max() > 1e-5


def test_forces_and_then_stress_are_one_evaluation_from_the_second_step_on(monkeypatch):
    atoms = ase.build.bulk("Cu", cubic=True)
    atoms.calc = toy_model().double().calculator()
    potential, asked = atoms.calc._potential, []

    def counted(graph, **wanted):
        asked.append(wanted["stress"])
        return potential(graph, **wanted)

    monkeypatch.setattr(atoms.calc, "_potential", _Counted(potential, counted))
    for step in range(3):
        atoms.rattle(0.01, seed=step)
        atoms.get_forces()
        atoms.get_stress()
    assert asked == [False, True, True, True]


class _Counted:
    """A potential whose calls go through a function."""

    def __init__(self, inner, call):
        self.inner, self.call = inner, call

    def __call__(self, graph, **wanted):
        return self.call(graph, **wanted)

    def __getattr__(self, name):
        return getattr(self.inner, name)
