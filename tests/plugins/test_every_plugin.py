"""What every family has to do, by one list of sentences. The models have random weights and run in float64."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms

import zoo
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.loading.models import create, load, save
from zoo.model.model import Model
from zoo.nn.irreps import FeatureLayout
from zoo.nn.rotations import random_rotation, transform
from zoo.registry import host

ELEMENTS = ["H", "C", "N", "O", "F", "Si"]
SMALL = {
    "schnet": {"channels": 16, "num_filters": 16, "num_layers": 2, "num_radial": 12},
    "painn": {"channels": 16, "num_layers": 2, "num_radial": 8},
    "dimenet": {},
    "gemnet": {},
    "nequip": {},
}
FAMILIES = sorted(SMALL)

every_family = pytest.mark.parametrize("family", FAMILIES)


def model_of(family: str, **options) -> Model:
    torch.manual_seed(1)
    model = create(family, preset="small", elements=ELEMENTS, dtype="float64", **SMALL[family], **options)
    return model.eval()


def molecules() -> list[Atoms]:
    return [ase.build.molecule(name) for name in ("CH3CH2OH", "H", "H2CO", "N2", "NF3")]


def silicon() -> Atoms:
    atoms = ase.build.bulk("Si")
    atoms.rattle(0.08, seed=2)
    return atoms


def graph_of(atoms) -> Graph:
    return Graph.from_atoms(atoms, dtype=torch.float64)


def energies(model: Model, atoms) -> torch.Tensor:
    with torch.no_grad():
        return model(graph_of(atoms))["energy"]


def features(model: Model, atoms) -> torch.Tensor:
    with torch.no_grad():
        return model.features(graph_of(atoms))


def test_all_five_come_through_the_entry_points():
    assert set(FAMILIES) <= set(host.architectures())


@every_family
def test_shapes_for_one_atom_and_for_a_mixed_batch(family):
    model = model_of(family)
    width = FeatureLayout(model.backbone.irreps_out).dim
    for atoms, n in ((Atoms("C"), 1), (molecules(), sum(map(len, molecules())))):
        h = features(model, atoms)
        assert h.shape == (n, width)
        assert h.dtype is torch.float64
        assert bool(h.isfinite().all())


@every_family
def test_the_dtype_follows_the_model(family):
    model = model_of(family).float()
    with torch.no_grad():
        assert model.features(graph_of(molecules())).dtype is torch.float32


@every_family
def test_renumbering_the_atoms_renumbers_the_features(family):
    model, atoms = model_of(family), molecules()[0]
    order = np.random.default_rng(0).permutation(len(atoms))
    torch.testing.assert_close(features(model, atoms[order]), features(model, atoms)[order], atol=1e-10, rtol=1e-10)


@every_family
@pytest.mark.parametrize("determinant", [1, -1])
def test_features_turn_as_irreps_out_says(family, determinant):
    model, atoms = model_of(family), molecules()[0]
    matrix = determinant * random_rotation(3)
    moved = atoms.copy()
    moved.positions = atoms.positions @ matrix.numpy().T + [3.0, -2.0, 7.0]
    before, after = features(model, atoms), features(model, moved)
    expected = transform(model.backbone.irreps_out, before, matrix)
    torch.testing.assert_close(after, expected, atol=1e-10, rtol=1e-8)
    assert float(before.std()) > 1e-4


@every_family
def test_features_depend_on_the_geometry(family):
    model, atoms = model_of(family), molecules()[0]
    moved = atoms.copy()
    moved.positions[0, 0] += 0.1
    assert float((features(model, atoms) - features(model, moved)).abs().max()) > 1e-4


@every_family
def test_a_batch_is_its_structures_one_by_one(family):
    model = model_of(family)
    together = features(model, molecules())
    apart = torch.cat([features(model, atoms) for atoms in molecules()])
    torch.testing.assert_close(together, apart, atol=1e-9, rtol=1e-9)


@every_family
@pytest.mark.parametrize("make", [lambda: molecules()[0], silicon], ids=["molecule", "crystal"])
def test_forces_are_minus_the_gradient(family, make):
    model, atoms, step = model_of(family), make(), 1e-4
    with torch.no_grad():
        forces = model(graph_of(atoms), ["forces"])["forces"]
    for i, d in ((0, 0), (1, 2)):
        moved = [atoms.copy(), atoms.copy()]
        moved[0].positions[i, d] += step
        moved[1].positions[i, d] -= step
        numeric = -np.subtract(*(float(energies(model, m)) for m in moved)) / (2 * step)
        assert float(forces[i, d]) == pytest.approx(numeric, abs=1e-6 * max(1, float(forces.abs().max())))
    assert float(forces.sum(0).abs().max()) < 1e-9 * max(1, float(forces.abs().max()))


@every_family
def test_stress_is_the_strain_derivative(family):
    model, atoms, step = model_of(family), silicon(), 1e-5
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    with torch.no_grad():
        stress = model(graph_of(atoms), ["stress"])["stress"][0]
    for a, b in ((0, 0), (1, 2)):
        moved = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            moved.append(float(energies(model, strained)))
        numeric = (moved[0] - moved[1]) / (2 * step) / atoms.get_volume()
        assert float(stress[a, b]) == pytest.approx(numeric, abs=1e-6 * max(1e-2, float(stress.abs().max())))


@every_family
def test_a_supercell_is_so_many_cells(family):
    model, atoms = model_of(family), silicon()
    one, many = (energies(model, a) for a in (atoms, atoms.repeat((3, 3, 3)) if family in ("schnet", "painn")
                                              else atoms.repeat((3, 2, 1))))
    ratio = 27 if family in ("schnet", "painn") else 6
    torch.testing.assert_close(many, ratio * one, rtol=1e-9, atol=1e-9)


@every_family
def test_whole_lattice_vectors_do_not_matter(family):
    model, atoms = model_of(family), silicon()
    moved = atoms.copy()
    moved.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
    torch.testing.assert_close(energies(model, moved), energies(model, atoms), rtol=1e-10, atol=1e-10)


@every_family
def test_an_atom_leaves_the_cutoff_smoothly(family):
    """The force of a neighbour fades to zero: no jump in energy or force where an edge appears."""
    model = model_of(family)
    atoms = Atoms("COH", positions=[[0, 0, 0], [1.2, 0, 0], [0, 0, 0]])
    reach = model.backbone.cutoff
    values, forces = [], []
    for distance in (reach - 1e-3, reach - 1e-5, reach + 1e-5, reach + 1e-3):
        atoms.positions[2] = [0, distance, 0]
        with torch.no_grad():
            out = model(graph_of(atoms), ["forces"])
        values.append(float(out["energy"]))
        forces.append(float(out["forces"][2, 1]))
    assert abs(values[1] - values[2]) < 1e-7
    assert abs(forces[1] - forces[2]) < 1e-4
    atoms.positions[2] = [0, 0.5 * reach, 0]
    assert abs(float(energies(model, atoms)) - values[2]) > 1e-4


@every_family
def test_far_copies_do_not_see_each_other(family):
    model, one = model_of(family), molecules()[0]
    two = one + one.copy()
    two.positions[len(one):] += [60, 0, 0]
    torch.testing.assert_close(energies(model, two), 2 * energies(model, one), rtol=1e-10, atol=1e-10)


@every_family
def test_saved_weights_come_back_bit_by_bit(family, tmp_path):
    model = model_of(family, pbc=False).float()
    card = save(model, tmp_path / "saved", name=f"{family}-test")
    again = load(tmp_path / "saved", verify="golden")
    assert again.card.weights.sha256 == card.weights.sha256
    for (name, a), (other, b) in zip(model.state_dict().items(), again.state_dict().items()):
        assert name == other
        assert torch.equal(a, b)
    second = save(again, tmp_path / "again")
    assert second.weights.sha256 == card.weights.sha256
    assert second.to_dict() == card.to_dict()


@every_family
def test_every_parameter_gets_a_gradient_from_energy_and_forces(family):
    model = model_of(family).train()
    out = model(graph_of(molecules()), ["forces"])
    (out["energy"].square().sum() + out["forces"].square().sum()).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert idle == []


@every_family
def test_inputs_are_left_as_they_were(family):
    model, graph = model_of(family), add_edges(graph_of(molecules()), 5.0)
    before = {k: v.clone() for k, v in vars(graph).items() if isinstance(v, torch.Tensor)}
    rng = torch.get_rng_state()
    model(graph, ["forces"])
    assert all(torch.equal(v, getattr(graph, k)) for k, v in before.items())
    assert torch.equal(rng, torch.get_rng_state())
    assert torch.get_default_dtype() is torch.float32


def test_the_public_names_are_functions():
    assert zoo.load is load
    assert zoo.create is create
