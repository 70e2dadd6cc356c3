"""predict: every kind of input, plain numbers out, bad structures named."""

from __future__ import annotations

import logging

import ase.build
import numpy as np
import pytest
import torch
from ase import Atoms
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader
from toy import toy_model

from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.inference.prediction import _run
from zoo.loading.models import create


def molecules() -> list[Atoms]:
    return [ase.build.molecule(n) for n in ("CH3CH2OH", "H2O", "C6H6")]


def model_of(**options):
    torch.manual_seed(0)
    small = {"channels": 8, "num_layers": 1, "elements": ["H", "C", "N", "O", "F"], "pbc": False, "dtype": "float64"}
    targets = {"U0": {"readout": "energy", "unit": "eV"}, "mu": {"readout": "dipole", "unit": "D"}}
    return create("painn", **{**small, "targets": targets, **options}).eval()


def as_data(atoms: Atoms) -> Data:
    """As torch-geometric's QM9 has it: edge_index is the bond graph, sorted by source."""
    return Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions),
                edge_index=torch.tensor([[0, 0, 1, 2], [1, 2, 0, 0]]), edge_attr=torch.ones(4, 4))


def same(a, b) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-10, atol=1e-10)


def test_one_in_one_out_and_a_list_in_order():
    model = model_of()
    one = model.predict(molecules()[0])
    assert set(one) == {"U0", "mu"}
    assert all(isinstance(v, float) for v in one.values())
    many = model.predict(molecules())
    assert isinstance(many, list)
    for atoms, value in zip(molecules(), many):
        same(model.predict(atoms), value)


def test_atoms_graphs_and_pyg_give_the_same():
    model, frames = model_of(), molecules()
    expected = model.predict(frames)
    batch = next(iter(DataLoader([as_data(a) for a in frames], batch_size=3)))
    for given in ([as_data(a) for a in frames], Batch.from_data_list([as_data(a) for a in frames]), batch,
                  Graph.from_atoms(frames, dtype=torch.float64),
                  [Graph.from_atoms(a, dtype=torch.float64) for a in frames]):
        for value, wanted in zip(model.predict(given), expected, strict=True):
            same(value, wanted)
    same(model.predict(as_data(frames[0])), expected[0])


def test_given_edges_of_a_crystal_keep_their_shifts_beside_those_of_a_molecule():
    model = model_of(pbc=True)
    frames = [ase.build.bulk("C"), molecules()[0]]
    given = [add_edges(Graph.from_atoms(atoms, dtype=torch.float64), model.cutoff).replace(cutoff=None)
             for atoms in frames]
    assert given[0].edge_shift is not None and given[1].edge_shift is None
    for graph, value in zip(given, model.predict(given)):
        same(model.predict(graph), value)


def test_given_edges_count_beside_structures_without():
    model = model_of()
    bonded, free = (Graph.from_atoms(ase.build.molecule(name), dtype=torch.float64) for name in ("CH4", "H2O"))
    bonded = bonded.replace(edge_index=torch.tensor([[1, 0], [0, 1]]))
    alone = [model.predict(bonded)["U0"], model.predict(free)["U0"]]
    together = [p["U0"] for p in model.predict([bonded, free])]
    assert together == pytest.approx(alone, abs=1e-6)
    assert alone[0] != pytest.approx(model.predict(ase.build.molecule("CH4"))["U0"], abs=1e-4)


def test_a_batch_of_one_is_still_a_list():
    assert isinstance(model_of().predict(Batch.from_data_list([as_data(molecules()[0])])), list)


def test_concatenated_cells_of_pyg_are_understood():
    model = model_of(pbc=True, elements=["Si", "C"])
    crystals = [ase.build.bulk("Si"), ase.build.bulk("C")]
    data = [Data(z=torch.tensor(a.numbers), pos=torch.tensor(a.positions), cell=torch.tensor(a.cell.array),
                 pbc=torch.tensor(a.pbc)) for a in crystals]
    for value, wanted in zip(model.predict(Batch.from_data_list(data)), model.predict(crystals)):
        same(value, wanted)


def test_to_data_and_back_keeps_everything():
    graph = Graph.from_atoms([ase.build.bulk("Si"), ase.build.bulk("Cu")], dtype=torch.float64)
    again = Graph.from_data(graph.to_data())
    for name in ("z", "pos", "batch", "ptr", "cell", "pbc"):
        assert torch.equal(getattr(graph, name), getattr(again, name)), name


def test_forces_and_atomic_energies_are_per_atom():
    value = model_of().predict(molecules()[0], derivatives=["forces"], per_atom=True)
    assert value["forces"].shape == (9, 3)
    assert value["atomic_energies"].shape == (9,)
    assert value["atomic_energies"].sum() == pytest.approx(value["U0"])


def test_a_table_has_a_row_a_structure_and_keeps_errors():
    pytest.importorskip("pandas")
    frame = model_of().predict([molecules()[0], Atoms("Xe"), molecules()[1]], as_frame=True, on_error="keep",
                               derivatives=["forces"])
    assert list(frame.columns) == ["U0", "mu", "error"]
    assert frame["U0"].isna().tolist() == [False, True, False]
    assert "Xe" in frame["error"][1]


def test_batches_of_any_size_give_the_same():
    model, frames = model_of(), molecules() * 3
    for a, b in zip(model.predict(frames, max_atoms=1), model.predict(frames, max_atoms=10**6)):
        same(a, b)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Atoms(), "empty"),
    (lambda: Atoms("OH", positions=[[0, 0, np.nan], [0, 0, 1]]), "atom 0 are not finite"),
    (lambda: Atoms("OH", positions=[[0, 0, np.inf], [0, 0, 1]]), "not finite"),
    (lambda: Atoms("OHH", positions=[[0, 0, 0], [0, 0, 1], [0, 0, 1]]), "atoms 1 and 2 are 0.00 Å apart"),
    (lambda: Atoms("COSSi", positions=np.eye(4, 3) * 3), r"S, Si \(atom 2, 3\) is outside the domain"),
    (lambda: ase.build.bulk("C"), "is periodic"),
    (lambda: Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]], info={"charge": -1}), "charge"),
    (lambda: Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]], info={"spin": 1}), "spin"),
])
def test_structures_a_model_cannot_take(make, message):
    with pytest.raises(StructureError, match=message):
        model_of().predict(make())
    with pytest.raises(StructureError, match=message):
        model_of().predict([molecules()[0], make()])
    kept = model_of().predict([molecules()[0], make(), molecules()[1]], on_error="keep")
    assert isinstance(kept[1], StructureError)
    assert isinstance(kept[0], dict)
    assert isinstance(kept[2], dict)


def test_the_number_of_the_bad_structure_is_named():
    with pytest.raises(StructureError, match="structure 2"):
        model_of().predict([*molecules()[:2], Atoms("Xe")])


def test_an_unknown_object_is_named():
    with pytest.raises(StructureError, match="float"):
        model_of().predict(1.5)


def test_a_declared_input_must_be_there():
    model = model_of(inputs=["charge"])
    with pytest.raises(StructureError, match=r"atoms.info\['charge'\]"):
        model.predict(molecules()[0])
    atoms = molecules()[0]
    atoms.info["charge"] = 0
    assert "U0" in model.predict(atoms)


def test_out_of_memory_halves_the_batch_and_says_so(caplog):
    model, sizes = model_of(), []
    forward = model.forward

    def greedy(graph, derivatives=()):
        sizes.append(graph.num_graphs)
        if graph.num_graphs > 2:
            raise torch.OutOfMemoryError("no memory")
        return forward(graph, derivatives)

    model.forward = greedy
    with caplog.at_level(logging.WARNING, "zoo"):
        values = model.predict(molecules() * 2)
    assert len(values) == 6
    assert max(sizes) == 6
    assert "half as many" in caplog.text
    model.forward = forward
    for a, b in zip(values, model.predict(molecules() * 2)):
        same(a, b)


def test_a_structure_too_large_alone_is_named():
    model = model_of()

    def greedy(graph, derivatives=()):
        raise torch.OutOfMemoryError("no memory")

    model.forward = greedy
    with pytest.raises(StructureError, match="9 atoms does not fit"):
        model.predict(molecules()[0])


def test_other_failures_are_not_swallowed():
    model = model_of()

    def broken(graph, derivatives=()):
        raise RuntimeError("a bug")

    model.forward = broken
    with pytest.raises(RuntimeError, match="a bug"):
        _run(model, [Graph.from_atoms(molecules()[0], dtype=torch.float64)], (), False)


def test_what_predictions_hold_for_is_said_once(caplog):
    model = model_of()
    model.card = model.card.replace(domain={"elements": ["H", "C", "O"], "reach": "minima of B3LYP"})
    with caplog.at_level(logging.WARNING, "zoo"):
        model.predict(molecules()[0])
        model.predict(molecules()[0])
    assert caplog.text.count("minima of B3LYP") == 1


def test_a_single_atom_works():
    value = model_of().predict(Atoms("H"), derivatives=["forces"])
    assert np.isfinite(value["U0"])
    assert np.array_equal(value["forces"], np.zeros((1, 3)))


def test_positions_in_nanometres_are_refused():
    model, water = toy_model(), ase.build.molecule("H2O")
    water.positions *= 0.1
    with pytest.raises(StructureError, match=r"atoms 0 and 1 are 0.10 Å apart.*Fix: .*not nm"):
        model.predict(water)


def test_bonds_pressed_to_two_fifths_of_their_length_are_computed():
    for name in ("H2", "O2", "CO"):
        molecule = ase.build.molecule(name)
        molecule.positions *= 0.4
        assert np.isfinite(toy_model().predict(molecule)["energy"])


def test_a_result_that_is_no_number_is_the_error_of_its_structure(monkeypatch):
    model, frames = toy_model(), [ase.build.molecule(name) for name in ("H2O", "CO", "CH4")]
    plain = [model.predict(atoms)["energy"] for atoms in frames]
    forward = type(model).forward

    def broken(self, graph, *args, **options):
        out = forward(self, graph, *args, **options)
        n_atoms = graph.ptr.diff()
        return {**out, "energy": torch.where(n_atoms == 2, torch.nan, out["energy"])}

    monkeypatch.setattr(type(model), "forward", broken)
    first, second, third = model.predict(frames, on_error="keep")
    assert (first["energy"], third["energy"]) == pytest.approx((plain[0], plain[2]))
    assert isinstance(second, StructureError) and "structure 1: the model gives no finite energy" in str(second)
    with pytest.raises(StructureError, match="structure 1: the model gives no finite energy"):
        model.predict(frames)
    frames[1].calc = model.calculator()
    with pytest.raises(StructureError, match="no finite energy"):
        frames[1].get_potential_energy()


@pytest.mark.parametrize("distance", [1e4, 1e6])
@pytest.mark.parametrize("periodic", [False, True])
def test_a_structure_far_from_the_origin_has_the_same_numbers(distance, periodic):
    model = model_of(dtype="float32", pbc=periodic)
    frame = ase.build.bulk("C", cubic=True) if periodic else molecules()[0]
    frame.rattle(0.05, seed=0)
    far = frame.copy()
    far.positions += [distance, -distance, 0.5 * distance]
    near, moved = (model.predict(atoms, derivatives=["forces"]) for atoms in (frame, far))
    for name in near:
        np.testing.assert_allclose(moved[name], near[name], rtol=1e-5, atol=1e-5)


def test_positions_of_any_dtype_layout_and_history_are_read():
    model, water = model_of(), molecules()[1]
    plain = model.predict(water)
    strided = water.copy()
    strided.arrays["positions"] = np.asfortranarray(np.repeat(water.positions, 2, axis=0))[::2]
    same(model.predict(strided), plain)
    z, pos = torch.tensor(water.numbers), torch.tensor(water.positions)
    same(model.predict(Graph.from_tensors(z, pos.requires_grad_(True))), plain)
    half = pos.detach().half()
    same(model.predict(Graph.from_tensors(z, half)), model.predict(Graph.from_tensors(z, half.double())))
    same(model.predict(Graph.from_tensors(z, torch.eye(3).long())), model.predict(Graph.from_tensors(z, torch.eye(3))))


def test_a_molecule_has_no_stress_and_the_crystals_beside_it_have_theirs():
    model = toy_model()
    crystal, flat = ase.build.bulk("Si"), ase.build.bulk("Si", cubic=True)
    flat.cell[2], flat.pbc = 0, (True, True, False)
    found = model.predict([crystal, molecules()[1], flat], derivatives=["stress"], on_error="keep")
    np.testing.assert_allclose(found[0]["stress"], model.predict(crystal, derivatives=["stress"])["stress"], atol=1e-12)
    assert "structure 1: stress" in str(found[1]) and "vector c is absent" in str(found[2])
