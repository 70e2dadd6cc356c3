"""Model: what comes out, in which dtype, and that derivatives are derivatives."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch
from toy import toy_model

from zoo.errors import StructureError, UnknownNameError, ZooError
from zoo.evaluation.evaluation import evaluate
from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.model.readouts import Dipole


def molecules() -> list[ase.Atoms]:
    return [ase.build.molecule(n) for n in ("CH3CH2OH", "H", "C6H6", "NH3")]


def graph_of(atoms, dtype=torch.float64, **options) -> Graph:
    return Graph.from_atoms(atoms, dtype=dtype, **options)


def crystal(strain: float = 0.97) -> ase.Atoms:
    atoms = ase.build.bulk("Si", cubic=True)
    atoms.set_cell(atoms.cell * strain, scale_atoms=True)
    atoms.rattle(0.1, seed=3)
    return atoms


def test_forces_are_minus_the_gradient():
    model, atoms, step = toy_model(), molecules()[0], 1e-4
    forces = model(graph_of(atoms), ["forces"])["forces"]
    for i, d in [(0, 0), (3, 1), (8, 2)]:
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[i, d] += sign * step
            energies.append(model(graph_of(moved))["energy"].item())
        assert float(forces[i, d]) == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-8)


def test_stress_is_the_strain_derivative_with_the_sign_of_ase():
    model, atoms, step = toy_model(), crystal(), 1e-5
    stress = model(graph_of(atoms), ["stress"])["stress"][0]
    numeric = torch.zeros(3, 3)
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[a, b] += sign * step / 2
                strain[b, a] += sign * step / 2
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
                energies.append(model(graph_of(strained))["energy"].item())
            numeric[a, b] = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
    torch.testing.assert_close(stress.float(), numeric, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(stress, stress.T)


def test_a_supercell_is_so_many_cells():
    model, atoms = toy_model(), ase.build.bulk("Si")
    atoms.rattle(0.05, seed=1)
    one, many = (model(graph_of(a), ["forces", "stress"]) for a in (atoms, atoms.repeat(3)))
    torch.testing.assert_close(many["energy"], 27 * one["energy"], rtol=1e-12, atol=0)
    torch.testing.assert_close(many["forces"], one["forces"].repeat(27, 1), rtol=0, atol=1e-11)
    torch.testing.assert_close(many["stress"], one["stress"], rtol=0, atol=1e-12)


def test_whole_lattice_vectors_do_not_matter():
    model, atoms = toy_model(), crystal()
    moved = atoms.copy()
    moved.positions[2] += atoms.cell[0] - 2 * atoms.cell[1]
    a, b = (model(graph_of(x), ["forces"]) for x in (atoms, moved))
    torch.testing.assert_close(a["energy"], b["energy"], rtol=1e-12, atol=0)
    torch.testing.assert_close(a["forces"], b["forces"], rtol=0, atol=1e-11)


def test_a_batch_is_its_structures_one_by_one():
    model = toy_model("energy", "intensive", "dipole", "polarizability", "spatial_extent", "vector")
    together = model(graph_of(molecules()), ["forces"])
    apart = [model(graph_of(a), ["forces"]) for a in molecules()]
    for name, value in together.items():
        torch.testing.assert_close(value, torch.cat([a[name] for a in apart]), rtol=1e-11, atol=1e-11)


def test_a_large_total_energy_keeps_its_digits_in_float32():
    model = toy_model().float()
    model.readouts["energy"].set_constants(coefficients=torch.tensor([-13.6, -1030.0, -1480.0, -2040.0, 0.0, 0.0]))
    total = model(graph_of(molecules(), torch.float32))["energy"]
    exact = toy_model()(graph_of(molecules()))["energy"]
    references = model.composition(graph_of(molecules())) @ model.readouts["energy"].constants.coefficients
    assert total.dtype is torch.float64
    assert ((total - references - exact).detach().abs().max().item()) < 1e-5
    # The naive sum in float32 is off by more than that.
    assert (total.float() - references - exact).abs().max().item() > 1e-5


def test_constants_stay_float64_when_the_model_is_cast():
    model = toy_model()
    model.readouts["energy"].set_constants(scale=1 / 3)
    assert float(model.float().readouts["energy"].constants.scale) == 1 / 3


def test_standardised_values_invert_to_physical_ones():
    model = toy_model("energy", "intensive", "dipole", "polarizability", "spatial_extent", "vector")
    for seed, readout in enumerate(model.readouts.values()):
        k = readout.constants.coefficients.numel()
        readout.set_constants(coefficients=torch.randn(k, generator=torch.Generator().manual_seed(seed)), scale=2.5)
    graph = graph_of(molecules())
    physical, standardised = model(graph), model(graph, standardised=True)
    for name in physical:
        torch.testing.assert_close(model.standardise(name, physical[name], graph), standardised[name])
        assert not torch.allclose(physical[name], standardised[name])


def test_an_isolated_atom_has_its_reference_energy_and_no_force():
    model = toy_model()
    model.readouts["energy"].set_constants(coefficients=torch.full((6,), -500.0), scale=0.1)
    out = model(graph_of(ase.Atoms("C")), ["forces"])
    assert bool(out["energy"].isfinite().all())
    assert out["energy"].item() == pytest.approx(-500, abs=1)
    assert torch.equal(out["forces"], torch.zeros(1, 3, dtype=torch.float64))


def test_the_dipole_turns_with_the_molecule_and_not_with_its_place():
    made = toy_model("vector")
    dipole = Dipole(made.layout, made.elements, hidden=[8], magnitude=False)
    model = Model(made.backbone, {**made.readouts, "dipole": dipole}, units={"dipole": "D", "vector": "1"},
                  elements=made.elements).double()
    atoms = molecules()[0]
    turned = atoms.copy()
    turned.rotate(77, (1, 2, 3))
    turned.positions += [30, -20, 10]
    rotation = torch.from_numpy(np.linalg.lstsq(
        atoms.positions - atoms.get_center_of_mass(), turned.positions - turned.get_center_of_mass(), rcond=None)[0])
    a, b = model(graph_of(atoms)), model(graph_of(turned))
    for name in a:
        torch.testing.assert_close(a[name] @ rotation, b[name], atol=1e-10, rtol=0)
        assert a[name].norm().item() > 1e-3


def test_a_molecule_without_dipole_has_a_finite_gradient():
    model = toy_model("dipole", "energy").train()
    graph = graph_of(ase.Atoms("H"))
    model(graph)["dipole"].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


def test_two_far_copies_have_twice_the_energy_and_the_same_gap():
    model = toy_model("energy", "intensive", "polarizability")
    one = molecules()[0]
    two = one + one.copy()
    two.positions[len(one):] += 100
    a, b = model(graph_of(one)), model(graph_of(two))
    torch.testing.assert_close(b["energy"], 2 * a["energy"])
    torch.testing.assert_close(b["polarizability"], 2 * a["polarizability"])
    torch.testing.assert_close(b["intensive"], a["intensive"])


def test_atomic_energies_sum_to_the_energy():
    model, graph = toy_model(), graph_of(molecules())
    model.readouts["energy"].set_constants(coefficients=torch.arange(6.0), scale=3.0)
    total = torch.zeros(4, dtype=torch.float64).index_add(0, graph.batch, model.atomic_energies(graph))
    torch.testing.assert_close(total, model(graph)["energy"])


def test_forces_can_be_trained_on():
    model, graph = toy_model().train(), graph_of(molecules())
    model(graph, ["forces"])["forces"].square().sum().backward()
    assert any(float(p.grad.abs().max()) > 0 for p in model.parameters() if p.grad is not None)


def test_inference_keeps_no_graph():
    out = toy_model()(graph_of(molecules()), ["forces"])
    assert not any(v.requires_grad for v in out.values())


def test_a_hessian_is_the_derivative_of_the_forces():
    model, graph = toy_model(), graph_of(molecules()[3])
    graph = graph.replace(pos=graph.pos.requires_grad_(True))
    forces = model(graph, ["forces"])["forces"]
    row = torch.autograd.grad(forces[0, 0], graph.pos)[0]
    step = torch.zeros_like(graph.pos).index_put((torch.tensor(2), torch.tensor(1)), torch.tensor(1e-5).double())
    plus, minus = (model(graph.replace(pos=(graph.pos + s * step).detach()), ["forces"])["forces"] for s in (1, -1))
    assert float(row[2, 1]) == pytest.approx(float((plus - minus)[0, 0]) / 2e-5, abs=1e-7)


def test_what_a_model_lacks_is_said_when_it_is_needed(tmp_path):
    model = toy_model("dipole")
    with pytest.raises(UnknownNameError, match="no energy"):
        model.atomic_energies(graph_of(molecules()))
    with pytest.raises(ZooError, match="no card"):
        evaluate(model, data=tmp_path / "any.xyz")


def test_what_cannot_be_derived_is_refused():
    with pytest.raises(UnknownNameError, match="virial"):
        toy_model()(graph_of(molecules()), ["virial"])
    with pytest.raises(StructureError, match="periodic"):
        toy_model()(graph_of(molecules()), ["stress"])
    with pytest.raises(UnknownNameError, match="no energy"):
        toy_model("dipole")(graph_of(molecules()), ["forces"])
