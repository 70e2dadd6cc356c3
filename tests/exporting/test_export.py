"""Exported models: the plain forms, the recorded graphs, the files, and what is refused."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from dataclasses import replace
from types import SimpleNamespace

import ase.build
import numpy as np
import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import ExportError, StructureError
from zoo.exporting import package
from zoo.exporting.identity_gathers import remove_identity_gathers
from zoo.exporting.parity import example, measure
from zoo.exporting.record import potential_function, record
from zoo.exporting.row_sums import add_whole_rows
from zoo.exporting.signature import arguments, pad, unpad
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.graph.tracing import traced
from zoo.model.plausible import EnergyLimits
from zoo.nn import is_traced

ENERGY = {"energy": {"readout": "energy", "unit": "eV"}}
GEMNET = {
    "num_spherical": 3, "num_radial": 3, "blocks": 1, "emb_atom": 8, "emb_edge": 8, "emb_trip": 4, "emb_quad": 4,
    "emb_rbf": 4, "emb_cbf": 4, "emb_sbf": 4, "bil_trip": 4, "bil_quad": 4, "cutoff_triplets": 4.0,
    "cutoff_quadruplets": 3.5, "cutoff_interaction": 3.6,
}  # fmt: skip
SMALL = {
    "schnet": ("schnet", {"channels": 8, "num_filters": 8, "num_layers": 1, "num_radial": 4}),
    "schnet on a grid": ("schnet", {"channels": 8, "num_filters": 8, "num_layers": 2, "filter_grid": 40}),
    "painn": ("painn", {"channels": 8, "num_layers": 2, "num_radial": 4}),
    "nequip": ("nequip", {"num_layers": 2, "lmax": 2, "num_features": 4, "parity": True}),
    "dimenet": ("dimenet", {"hidden": 16, "blocks": 1, "int_emb": 8, "basis_emb": 4, "out_emb": 8, "num_spherical": 3,
                            "num_radial": 3, "cutoff_triplets": 4.0}),
    "gemnet-t": ("gemnet", GEMNET | {"quadruplets": False}),
    "gemnet-q": ("gemnet", GEMNET),
}
EVERY = pytest.mark.parametrize("kind", SMALL)
NAMES = ("energy", "forces", "atomic_energies", "stress")


def small(kind, dtype="float64", **options):
    architecture, config = SMALL[kind]
    torch.manual_seed(0)
    model = zoo.create(architecture, targets=options.pop("targets", ENERGY), elements=["H", "C", "N", "O"],
                       dtype=dtype, **options, **config)
    # A scale and references, as training would fit them: an export that forgot either would agree otherwise.
    readout = next(iter(model.readouts.values()))
    readout.set_constants(coefficients=torch.linspace(-500, -10, len(readout.constants.coefficients)), scale=1.7)
    return model.eval().requires_grad_(False)


def plain(model, *, stress=True):
    """The function that is exported, run without recording it."""
    function = potential_function(model, stress=stress)

    def run(*inputs):
        with traced(), torch.enable_grad():
            return function(*inputs)

    return run


# -- the plain forms -----------------------------------------------------------------------------------------------


@EVERY
def test_plain_forms_give_the_numbers_of_the_fast_ones(kind):
    model = small(kind)
    cases = {p.case: p for p in measure(model, plain(model), stress=True)}  # raises where they do not
    assert max(p.atoms for p in cases.values()) > example(model).num_nodes
    assert cases["crystal"].stress < 1e-12 and cases["crystal"].largest_force > 1e-6
    assert cases["atom"].edges == 0


@EVERY
def test_edges_may_come_in_any_order(kind):
    model = small(kind)
    z, pos, cell, edge_index, shift = arguments(example(model))
    order = torch.randperm(edge_index.shape[1], generator=torch.Generator().manual_seed(1))
    run = plain(model)
    for x, y in zip(run(z, pos, cell, edge_index, shift), run(z, pos, cell, edge_index[:, order], shift[order])):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-10)


def test_the_switch_is_off_outside_and_after_an_error():
    with pytest.raises(RuntimeError, match="inside"), traced():
        assert is_traced()
        raise RuntimeError("inside")
    assert not is_traced()


def test_priors_are_part_of_the_exported_energy():
    model = small("painn", priors={"zbl": {}})
    graph = add_edges(Graph.from_atoms(ase.Atoms("CO", [[0, 0, 0], [0.6, 0, 0]]), dtype=torch.float64), 5.0)
    energy, forces, *_ = plain(model)(*arguments(graph))
    expected = model(graph, ["forces"])
    assert abs(float(forces[0, 0])) > 50
    torch.testing.assert_close(energy, expected["energy"][0])
    torch.testing.assert_close(forces, expected["forces"])


# -- padding -------------------------------------------------------------------------------------------------------


def test_padding_leaves_what_is_large_enough_alone():
    inputs = arguments(example(small("schnet")))
    assert pad(inputs, 5.0) == (inputs, 11)


@pytest.mark.parametrize("symbols", ["C", "CO"])
def test_atoms_without_neighbours_are_padded_and_have_their_own_energies(symbols):
    model = small("painn")
    atoms = ase.Atoms(symbols, positions=20.0 * np.arange(3 * len(symbols)).reshape(-1, 3))
    graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), 5.0)
    inputs, n = pad(arguments(graph), 5.0)
    assert inputs[0].shape[0] >= 2 and inputs[3].shape[1] == 2 and n == len(symbols)
    found = unpad(plain(model)(*inputs), n)
    assert found["forces"].shape == (n, 3) and not found["forces"].any()
    torch.testing.assert_close(found["energy"], model(graph)["energy"][0])


def test_a_molecule_has_no_stress():
    graph = add_edges(Graph.from_atoms(ase.build.molecule("CH4"), dtype=torch.float64), 5.0)
    assert plain(small("schnet"))(*arguments(graph))[3].isnan().all()


# -- recorded graphs -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@EVERY
def test_every_family_can_be_recorded(kind):
    model = small(kind)
    program = record(model, arguments(example(model)), stress=True)
    measure(model, program.module(), stress=True)


@pytest.mark.parametrize("element", ["H", "Cs"])
def test_examples_have_angles_whatever_the_size_of_their_atoms(element):
    model = zoo.create("schnet", targets=ENERGY, elements=[element], cutoff=4.0, channels=4, num_layers=1)
    graph = example(model)
    assert graph.edge_index[1].bincount(minlength=graph.num_nodes).min() >= 2


def test_gathers_in_order_are_taken_out_and_others_stay():
    def function(x, index):
        count = torch.arange(x.shape[0])
        rows = x.index_select(0, count[:, None][:, 0]) * x.index_select(0, index)
        added = x.new_zeros(x.shape).index_add(0, count, rows)
        return added + x.new_zeros(x.shape).index_add(0, index, rows)

    from torch.fx.experimental.proxy_tensor import make_fx

    x, index = torch.randn(5, 3), torch.tensor([4, 4, 0, 1, 1])
    module = make_fx(function, tracing_mode="symbolic")(x, index)
    assert remove_identity_gathers(module) == 2
    left = [n.target for n in module.graph.nodes if n.op == "call_function" and "index" in str(n.target)]
    assert left == [torch.ops.aten.index_select.default, torch.ops.aten.index_add.default]
    for rows in (5, 4):
        torch.testing.assert_close(module(x[:rows], index[:rows] % rows), function(x[:rows], index[:rows] % rows))


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_rows_are_added_whole_and_single_numbers_as_before(shape):
    def function(x, y, index):
        rows = x.new_zeros((4, *x.shape[1:])).index_add(0, index, x)
        return rows.flatten(1).sum(1) + y.new_zeros(4).index_add(0, index, y), rows

    from torch.fx.experimental.proxy_tensor import make_fx

    # Row 2 is named by nobody, row 3 three times.
    x, y, index = torch.randn(6, *shape), torch.randn(6), torch.tensor([3, 0, 0, 3, 1, 3])
    module = make_fx(function, tracing_mode="symbolic")(x, y, index)
    assert add_whole_rows(module) == 1
    targets = [n.target for n in module.graph.nodes]
    assert targets.count(torch.ops.aten.scatter_reduce.two) == 1
    assert targets.count(torch.ops.aten.index_add.default) == 1
    for rows in (6, 2):
        inputs = x[:rows], y[:rows], index[:rows]
        torch.testing.assert_close(module(*inputs), function(*inputs))


def test_an_architecture_that_looks_at_the_data_is_refused_with_the_reason():
    model = small("schnet")
    forward = model.backbone.forward
    model.backbone.forward = lambda graph: forward(graph) * (1.0 if float(graph.edge_len.max()) > 1 else 2.0)
    with pytest.raises(ExportError, match=r"'schnet' cannot be recorded as a graph.*is_traced"):
        record(model, arguments(example(model)), stress=False)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small SchNet, exported by the command line from a card folder, and the model itself."""
    folder = tmp_path_factory.mktemp("export")
    model = small("schnet", dtype="float32", name="tiny-schnet")
    zoo.save(model, folder / "card")
    main_quietly(["export", str(folder / "card"), "-o", str(folder / "tiny.pt2"), "--dtype", "float64"])
    return SimpleNamespace(path=folder / "tiny.pt2", model=zoo.load(folder / "card", dtype="float64"))


def main_quietly(arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code


def test_the_description_says_what_the_file_is(exported):
    description = json.loads(exported.path.with_name("tiny.pt2.json").read_text())
    assert description["model"] == "tiny-schnet" and description["format"] == "torch-export"
    assert description["dtype"] == "float64" and description["cutoff"] == 5.0
    assert description["elements"] == ["H", "C", "N", "O"]
    assert description["card_sha256"] == exported.model.card.weights.sha256
    assert {name: o["unit"] for name, o in description["outputs"].items()} == {
        "energy": "eV", "forces": "eV/Å", "atomic_energies": "eV", "stress": "eV/Å³"}
    parity = {p["case"]: p for p in description["parity"]}
    assert len({(p["atoms"], p["edges"]) for p in parity.values()}) >= 4
    assert parity["crystal"]["periodic"] and parity["crystal"]["stress"] < 1e-12
    assert max(p["forces"] for p in parity.values()) < 1e-9


def test_an_exported_model_gives_ase_the_same_numbers(exported):
    loaded = zoo.load_exported(exported.path)
    crystal = ase.build.bulk("C", "diamond", 3.6, cubic=True)
    crystal.rattle(0.1, seed=0)
    for atoms in (ase.build.molecule("CH3CH2OH"), ase.Atoms("O"), crystal):
        atoms.calc = loaded.calculator()
        expected = atoms.copy()
        expected.calc = exported.model.calculator()
        np.testing.assert_allclose(atoms.get_potential_energy(), expected.get_potential_energy(), rtol=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-10)
        np.testing.assert_allclose(atoms.get_potential_energies(), expected.get_potential_energies(), atol=1e-10)
    np.testing.assert_allclose(crystal.get_stress(), expected.get_stress(), atol=1e-12)
    assert "stress" not in loaded(ase.build.molecule("H2O"))


def test_structures_outside_the_domain_are_refused(exported):
    loaded = zoo.load_exported(exported.path)
    with pytest.raises(StructureError, match=r"Cu \(atom 0\) is outside the domain"):
        loaded(ase.build.bulk("Cu"))
    with pytest.raises(StructureError, match="no atoms"):
        loaded(ase.Atoms())


def test_an_energy_that_no_structure_has_is_refused(exported):
    loaded, water = zoo.load_exported(exported.path), ase.build.molecule("H2O")
    assert loaded.energy_limits == EnergyLimits.of(exported.model)
    energy = float(loaded(water)["energy"])
    lone = sum(loaded.energy_limits.lone[z] for z in water.numbers)
    loaded.energy_limits = replace(loaded.energy_limits, spread=abs(energy - lone) / 3 * 0.999)
    water.calc = loaded.calculator()
    with pytest.raises(StructureError, match=r"gives an energy of .* Fix: "):
        water.get_potential_energy()
    loaded.energy_limits = replace(loaded.energy_limits, spread=abs(energy - lone) / 3 * 1.001)
    assert water.get_potential_energy() == pytest.approx(energy)


BAD = {
    "not finite": lambda: ase.Atoms("OH", [[0, 0, 0], [0, 0, np.nan]]),
    "0.01 Å apart": lambda: ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.01]]),
    "charge -1": lambda: ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1}),
    "spin 1": lambda: ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"spin": 1}),
    "periodic along c": lambda: ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], cell=[9, 9, 0], pbc=True),
}


@pytest.mark.parametrize("reason", BAD)
def test_what_the_model_refuses_its_export_refuses_in_the_same_words(exported, reason):
    said = []
    for calculator in (zoo.load_exported(exported.path).calculator(), exported.model.calculator()):
        fresh, moved = BAD[reason](), ase.Atoms("OH", [[0, 0, 0], [0, 0, 1.1]])
        fresh.calc = moved.calc = calculator
        with pytest.raises(StructureError, match=reason) as error:
            fresh.get_potential_energy()
        moved.get_potential_energy()  # once it has seen good atoms, a change to bad ones is noticed as well
        moved.positions, moved.info, moved.pbc, moved.cell = fresh.positions, fresh.info, fresh.pbc, fresh.cell
        with pytest.raises(StructureError, match=reason):
            moved.get_potential_energy()
        said.append(str(error.value))
    assert said[0] == said[1]
    with pytest.raises(StructureError, match=reason):
        zoo.load_exported(exported.path)(BAD[reason]())


def test_an_exported_model_has_the_stress_of_a_slab(exported):
    slab = ase.build.bulk("C", "diamond", 3.6, cubic=True)
    slab.rattle(0.1, seed=0)
    slab.center(vacuum=5, axis=2)
    slab.pbc = (True, True, False)
    stress = []
    for model in (zoo.load_exported(exported.path), exported.model):
        slab.calc = model.calculator()
        stress.append(slab.get_stress())
    np.testing.assert_allclose(*stress, atol=1e-12)
    assert abs(stress[0][0]) > 1e-4


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_exported_models_and_their_calculators_can_be_pickled(exported, twin):
    atoms = ase.build.molecule("H2O")
    atoms.calc = zoo.load_exported(exported.path).calculator()
    energy, other = atoms.get_potential_energy(), atoms.copy()
    other.calc = twin(atoms.calc)
    assert other.get_potential_energy() == energy
    assert float(twin(zoo.load_exported(exported.path))(other)["energy"]) == energy


def test_an_exported_model_pickled_before_another_export_is_not_taken_for_it(exported, tmp_path):
    for name in ("tiny.pt2", "tiny.pt2.json"):
        (tmp_path / name).write_bytes(exported.path.with_name(name).read_bytes())
    kept = pickle.dumps(zoo.load_exported(tmp_path / "tiny.pt2"))
    sidecar = tmp_path / "tiny.pt2.json"
    (tmp_path / "tiny.pt2").write_bytes(b"another")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "file_sha256":
                                   hashlib.sha256(b"another").hexdigest()}))
    with pytest.raises(ExportError, match="exported again"):
        pickle.loads(kept)


def test_a_file_that_its_description_does_not_describe_is_refused(exported, tmp_path):
    copy, sidecar = tmp_path / "tiny.pt2", exported.path.with_name("tiny.pt2.json")
    with pytest.raises(ExportError, match="no such file"):
        zoo.load_exported(copy)
    copy.write_bytes(exported.path.read_bytes() + b"\0")
    copy.with_name("tiny.pt2.json").write_bytes(sidecar.read_bytes())
    with pytest.raises(ExportError, match="export it again"):
        zoo.load_exported(copy)


# -- what is refused -----------------------------------------------------------------------------------------------


def test_models_and_names_that_cannot_be_exported_are_refused(tmp_path):
    target = tmp_path / "x.pt2"
    with pytest.raises(ExportError, match="has no energy to export, only gap"):
        zoo.export(small("schnet", targets={"gap": {"readout": "intensive", "unit": "eV"}}), target)
    with pytest.raises(ExportError, match="reads charge"):
        zoo.export(small("schnet", inputs=["charge"]), target)
    with pytest.raises(ExportError, match="torch-export, aoti"):
        zoo.export(small("schnet"), target, "onnx")
    with pytest.raises(ExportError, match=r"ends in \.pt2"):
        zoo.export(small("schnet"), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_when_the_numbers_differ(tmp_path, monkeypatch):
    model = small("schnet")

    def wrong(path, format):
        run = plain(model)
        return lambda z, pos, cell, edges, shift: run(z, pos, cell, edges, 0 * shift)  # forgets periodic images

    monkeypatch.setattr(package, "load_function", wrong)
    monkeypatch.setattr(package, "record", lambda *args, **options: None)
    monkeypatch.setattr(package, "_write", lambda program, path, *rest: path.write_bytes(b"a file"))
    with pytest.raises(ExportError, match="differs from the original on crystal"):
        zoo.export(model, tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


# -- compiled ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["schnet", "painn"])
def test_a_compiled_library_gives_the_numbers_of_the_model(kind, tmp_path):
    model = small(kind, dtype="float32")
    path = zoo.export(model, tmp_path / "x.pt2", "aoti", stress=kind == "painn")
    atoms = ase.build.molecule("C6H6")
    atoms.calc = zoo.load_exported(path).calculator()
    expected = atoms.copy()
    expected.calc = model.calculator()
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=2e-4)
    assert model.dtype == torch.float32 and next(model.parameters()).device.type == "cpu"
