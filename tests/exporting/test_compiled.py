"""Models compiled for this machine: the numbers of the model, kept for the next time, made anew when they are stale."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ase.build
import numpy as np
import pytest
import torch

import zoo
from zoo.errors import ZooError
from zoo.exporting import compiled as compiling
from zoo.exporting.compiled import CompiledModel, compiled, compiled_folder
from zoo.exporting.record import potential_function
from zoo.graph.graph import Graph
from zoo.graph.verlet import VerletList
from zoo.inference.potential import Potential


def small(seed=0, **options):
    torch.manual_seed(seed)
    model = zoo.create("schnet", targets={"energy": {"readout": "energy", "unit": "kcal/mol"}}, dtype="float64",
                       elements=["H", "C", "O", "Si"], channels=8, num_filters=8, num_layers=1, num_radial=4, **options)
    readout = model.readouts["energy"]
    readout.set_constants(coefficients=torch.linspace(-500, -10, 4), scale=1.7)
    return model.eval().requires_grad_(False)


def silicon():
    cell = ase.build.bulk("Si", cubic=True)
    cell.rattle(0.1, seed=0)
    return cell


@pytest.fixture
def uncompiled(monkeypatch, tmp_path):
    """Everything of a compiled model but the compiler: the very function that would be compiled, run as it is."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    made, functions = [], {}

    def export(model, path, format, *, stress):
        made.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a library")
        path.with_name(f"{path.name}.json").write_text(json.dumps({
            "file_sha256": zoo.files.hashing.sha256_of(path), "format": "aoti", "cutoff": 5.0, "device": "cpu",
            "elements": []}))
        functions[path] = potential_function(copy.deepcopy(model), stress=stress)

    def load_function(path, format):
        def run(*inputs):
            with torch.enable_grad():
                return functions[path](*inputs)
        return run

    monkeypatch.setattr(compiling, "export", export)
    monkeypatch.setattr("zoo.exporting.loaded.load_function", load_function)
    return SimpleNamespace(made=made, functions=functions)


def test_it_is_kept_and_found_again(uncompiled):
    model = small()
    first, again = compiled(model), compiled(copy.deepcopy(model))
    assert first.path == again.path and len(uncompiled.made) == 1
    assert first.path.parent == compiled_folder()


@pytest.mark.parametrize("change", ["weights", "cut-off", "dtype"])
def test_another_model_has_another_library(uncompiled, change):
    compiled(small())
    other = {"weights": lambda: small(seed=1), "cut-off": lambda: small(cutoff=4.0), "dtype": lambda: small().float()}
    compiled(other[change]())
    assert len(set(uncompiled.made)) == 2


def plant(path, run):
    """A library with a right description; ``run`` stands for what it would do."""
    path.write_bytes(b"planted")
    sidecar = path.with_name(f"{path.name}.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()),
                                   "file_sha256": hashlib.sha256(b"planted").hexdigest()}))
    run(path)


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of posix")
@pytest.mark.parametrize("how", ["mode of file", "mode of description", "link", "second name", "mode of folder"])
def test_what_another_user_could_have_written_is_compiled_again(uncompiled, tmp_path, how):
    model = small()
    path = compiled(model).path
    assert path.parent.stat().st_mode & 0o777 == 0o700 and path.stat().st_mode & 0o777 == 0o600
    if how == "mode of file":
        plant(path, lambda file: file.chmod(0o666))
    if how == "mode of description":
        plant(path, lambda file: file.with_name(f"{file.name}.json").chmod(0o622))
    if how == "link":
        plant(path, lambda file: (file.rename(tmp_path / "x"), file.symlink_to(tmp_path / "x")))
    if how == "second name":
        plant(path, lambda file: os.link(file, tmp_path / "x"))
    if how == "mode of folder":
        plant(path, lambda file: file.parent.chmod(0o777))
    compiled(model)
    assert uncompiled.made == [path, path] and path.read_bytes() == b"a library"
    assert path.parent.stat().st_mode & 0o777 == 0o700 and not path.is_symlink()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_or_folder_of_another_user_is_not_run(uncompiled, tmp_path, caplog):
    model = small()
    first = compiled(model)
    plant(first.path, lambda file: os.chown(file, 12345, -1))
    kept = pickle.dumps(first)
    assert compiled(model).path == first.path and len(uncompiled.made) == 2
    os.chown(first.path, 12345, -1)
    graph = Graph.from_atoms(silicon(), dtype=torch.float64)
    with pytest.raises(ZooError, match="Fix: "):
        pickle.loads(kept)(VerletList(5.0).edges(graph))
    os.chown(first.path.parent, 12345, -1)
    other = compiled(model).path
    assert other.parent == tmp_path / "compiled-0" and "not a folder of this user" in caplog.text
    os.chown(other.parent, 12345, -1)
    with pytest.raises(ZooError, match="set ZOO_HOME"):
        compiled(model)


def test_threads_that_want_one_library_make_it_once(uncompiled):
    models = [small() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert len({made.path for made in pool.map(compiled, models)}) == 1
    assert len(uncompiled.made) == 1


def test_a_damaged_library_is_made_anew(uncompiled):
    path = compiled(small()).path
    path.write_bytes(b"half a libr")
    compiled(small())
    path.with_name(f"{path.name}.json").write_text("{")
    compiled(small())
    assert uncompiled.made == [path] * 3


def test_one_that_gives_other_numbers_is_made_anew(uncompiled):
    """The weights are those, but the code of the backbone was another then."""
    model = small()
    path = compiled(model).path
    right = uncompiled.functions[path]
    uncompiled.functions[path] = lambda *inputs: tuple(1.01 * value for value in right(*inputs))
    compiled(model)
    assert uncompiled.made == [path, path]


def test_batches_of_molecules_and_of_crystals(uncompiled):
    """Energies by structure and forces agree with the model's; lattices differ within a batch."""
    model = small()
    water, methane = ase.build.molecule("H2O"), ase.build.molecule("CH4")
    lattice = silicon()
    other = silicon()
    other.set_cell(other.cell * 1.03, scale_atoms=True)
    for frames in ([water], [water, methane, water], [lattice], [lattice, other]):
        graph = Graph.from_atoms(frames, dtype=torch.float64)
        expected = Potential(model)(graph, stress=frames == [lattice], atomic=True)
        found = Potential(model, compile=True)(graph, stress=frames == [lattice], atomic=True)
        for name in ("energy", "forces", "atomic", *(["stress"] if frames == [lattice] else [])):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-12)


def test_stress_of_a_batch_comes_from_the_model(uncompiled):
    model = small()
    graph = Graph.from_atoms([silicon(), silicon()], dtype=torch.float64)
    found, expected = (Potential(model, compile=c)(graph, stress=True) for c in (True, False))
    assert found.stress.shape == (2, 3, 3) and torch.equal(found.stress, expected.stress)


def test_single_atoms_and_atoms_out_of_reach(uncompiled):
    model = small()
    atom = ase.Atoms("O")
    far = ase.Atoms("OHH", [[0, 0, 0], [40, 0, 0], [80, 0, 0]])
    for atoms in (atom, far):
        expected, found = (Potential(model, compile=c)(Graph.from_atoms([atoms], dtype=torch.float64), atomic=True)
                           for c in (False, True))
        assert torch.allclose(found.energy, expected.energy) and torch.allclose(found.atomic, expected.atomic)
        assert found.forces.shape == (len(atoms), 3) and not found.forces.any()


def test_the_calculator_and_its_copies(uncompiled):
    model = small()
    plain, quick = model.calculator(), model.calculator(compile=True)
    for atoms in (ase.build.molecule("CH3CH2OH"), silicon()):
        names = ["energy", "forces", "energies"] + (["stress"] if atoms.pbc.all() else [])
        for calculator in (quick, copy.deepcopy(quick), pickle.loads(pickle.dumps(quick))):
            for name in names:
                np.testing.assert_allclose(calculator.get_property(name, atoms), plain.get_property(name, atoms),
                                           rtol=1e-10, atol=1e-10)
    assert len(uncompiled.made) == 1


def test_relaxation_and_dynamics(uncompiled):
    model, start = small(), ase.build.molecule("H2O")
    one, two = (model.relax([start], steps=5, compile=c)[0] for c in (False, True))
    np.testing.assert_allclose(one.positions, two.positions, atol=1e-10)
    runs = [model.dynamics([start, start], ensemble="nvt", temperature=300, compile=c) for c in (False, True)]
    for run in runs:
        run.step(5)
    torch.testing.assert_close(runs[0].pos, runs[1].pos, rtol=0, atol=1e-10)


def test_models_without_an_energy_are_refused(uncompiled):
    model = zoo.create("schnet", targets={"gap": {"readout": "intensive", "unit": "eV"}}, elements=["H", "O"])
    with pytest.raises(ZooError, match="energy"):
        model.calculator(compile=True)


@pytest.mark.slow
def test_with_the_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    model = small().float()
    quick = model.calculator(compile=True)
    atoms = silicon()
    for name in ("energy", "forces", "energies", "stress"):
        np.testing.assert_allclose(quick.get_property(name, atoms), model.calculator().get_property(name, atoms),
                                   rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(compiling, "export", lambda *_, **__: pytest.fail("compiled a second time"))
    assert isinstance(compiled(model), CompiledModel)
