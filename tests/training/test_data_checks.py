"""What is wrong with training data is found before the first step, and named."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from safetensors.torch import save_file
from tiny import make_model, run_trainer

import zoo
from zoo.cards.card import Card
from zoo.data import Store
from zoo.data.frames import from_atoms
from zoo.data.identity import fingerprints
from zoo.errors import CardError, DataError, StructureError, TrainingError
from zoo.files.hashing import sha256_of
from zoo.graph.graph import Graph
from zoo.training import train
from zoo.training.data_checks import check_apart, check_elements_of_splits, check_labels, named, suspicious_labels
from zoo.training.outliers import energy_outliers

ROWS = {"train": torch.arange(40), "val": torch.arange(40, 50), "test": torch.arange(50, 60)}


def changed(store: Store, **labels: torch.Tensor) -> Store:
    return replace(store, labels={**store.labels, **labels})


# -- energies that do not belong to the others ---------------------------------------------------------------------


def molecules(n: int = 200, *, elements: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Energies, compositions and sizes of molecules that references explain to 0.05 eV per atom."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randint(0, 6, (n, elements), generator=generator).double()
    basis[:, 0] += 2  # no isolated atoms
    n_atoms = basis.sum(1)
    noise = 0.05 * n_atoms * torch.randn(n, generator=generator, dtype=torch.float64)
    free = -1000.0 * torch.arange(1, elements + 1).double()
    return basis @ free + noise, basis, n_atoms


@pytest.mark.parametrize("offset", [1e5, -1e5, 100.0, -40.0])
@pytest.mark.parametrize("wrong", [slice(100, 200), slice(0, 100), slice(0, 200, 2), slice(120, 200), slice(7, 8)])
def test_an_offset_of_up_to_half_of_the_energies_is_found(offset: float, wrong: slice) -> None:
    energy, basis, n_atoms = molecules()
    energy[wrong] += offset
    residual, outside = energy_outliers(energy, basis, n_atoms)
    expected = torch.zeros(200, dtype=torch.bool)
    expected[wrong] = True
    if int(expected.sum()) == 100:  # which half is wrong is not known
        assert torch.equal(outside, expected) or torch.equal(outside, ~expected)
    else:
        assert torch.equal(outside, expected)
    jump = (residual * n_atoms)[outside].median()
    assert abs(abs(float(jump)) - abs(offset)) < 2


def test_another_unit_in_one_part_is_found() -> None:
    energy, basis, n_atoms = molecules()
    energy[150:] *= 23.06
    assert torch.equal(energy_outliers(energy, basis, n_atoms)[1].nonzero()[:, 0], torch.arange(150, 200))


def test_sound_energies_are_no_outliers() -> None:
    for seed in range(20):
        assert not energy_outliers(*molecules(40, elements=5, seed=seed))[1].any()
    energy, basis, n_atoms = molecules()
    # Isolated atoms are bound to nothing; a tail without a gap is a tail.
    atom = torch.eye(3, dtype=torch.float64)
    energy = torch.cat([energy, torch.tensor([-995.0, -1994.0, -2993.0], dtype=torch.float64)])
    basis, n_atoms = torch.cat([basis, atom]), torch.cat([n_atoms, torch.ones(3, dtype=torch.float64)])
    assert not energy_outliers(energy, basis, n_atoms)[1].any()
    energy[:40] += n_atoms[:40] * torch.logspace(-2, 1.5, 40, dtype=torch.float64)
    assert not energy_outliers(energy, basis, n_atoms)[1].any()


def test_a_composition_that_the_others_do_not_determine_is_not_judged() -> None:
    """Two molecules only, and one of them ten times as well explained: its references say nothing about the other."""
    basis = torch.tensor([[6.0, 2, 1]] * 30 + [[4.0, 1, 0]] * 30, dtype=torch.float64)
    noise = torch.randn(60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise[:30] *= 0.01
    energy = basis @ torch.tensor([-13.0, -1000, -2000], dtype=torch.float64) + noise
    assert not energy_outliers(energy, basis, basis.sum(1))[1].any()


# -- a store -------------------------------------------------------------------------------------------------------


def test_sound_data_pass_without_a_word(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    model, names = make_model(), ["energy", "gap", "forces"]
    check_labels(model, store, ROWS, names)
    check_apart(store, ROWS, "here")
    check_elements_of_splits(store, ROWS, [1, 6, 8])
    assert suspicious_labels(model, store, ROWS, names) == [] and not caplog.records


def test_an_offset_is_named_with_its_structures(store: Store) -> None:
    energy = store.labels["energy"].clone()
    energy[45:] += 1e5
    store = replace(changed(store, energy=energy), ids=torch.arange(60), meta={"source": "file a.xyz"})
    [warning] = suspicious_labels(make_model(), store, ROWS, ["energy", "gap"])
    assert "'energy' of" in warning and "+1e+05 eV" in warning and "frames 4" in warning and "Fix:" in warning


def test_absurd_forces_are_named(store: Store) -> None:
    forces = store.labels["forces"].clone()
    forces[int(store.ptr[7])] = torch.tensor([0.0, 2e4, 0.0])
    [warning] = suspicious_labels(make_model(), changed(store, forces=forces), ROWS, ["forces"])
    assert "forces beyond 10,000 eV/Å, up to 2e+04 eV/Å: id 80" in warning


def test_copies_in_two_splits_are_named(store: Store) -> None:
    rows = {"train": torch.arange(40), "val": torch.tensor([50, 51]), "test": torch.tensor([52])}
    twice = store.subset(torch.tensor([*range(50), 3, 54, 4, *range(53, 60)]))
    [warning] = suspicious_labels(make_model(), replace(twice, ids=torch.arange(60)), rows, [])
    assert "2 structures of the validation and test splits are trained on too" in warning and "ids 50, 52" in warning


@pytest.mark.parametrize(("split", "row"), [("val", 45), ("test", 58)])
def test_elements_of_validation_and_test_alone_are_refused(store: Store, split: str, row: int,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    z = store.z.clone()
    z[int(store.ptr[row])] = 9
    store = replace(store, z=z)
    with pytest.raises(TrainingError, match=rf"'{split}' have F, which no structure .* has: id {10 * (row + 1)}\."):
        check_elements_of_splits(store, ROWS, [1, 6, 8, 9])
    check_elements_of_splits(store, ROWS, [1, 6, 8, 9], learnt=[9])
    assert not caplog.records
    check_elements_of_splits(store, ROWS, [1, 6, 8, 9], force=True)
    assert "have F, which no structure" in caplog.text


def test_elements_of_the_domain_without_any_data_are_named(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    check_elements_of_splits(store, ROWS, [1, 6, 7, 8])
    assert "domain.elements names N, which no structure" in caplog.text


@pytest.mark.parametrize(("labels", "error", "message"), [
    ({"gap": torch.zeros(60, 3, dtype=torch.float64)}, DataError, "'gap' has 3 numbers per structure, and the model "
     "predicts one number per structure"),
    ({"energy": torch.full((60,), math.inf, dtype=torch.float64)}, DataError, r"'energy' is infinite: ids 10, 20"),
    ({"gap": torch.full((60,), math.nan, dtype=torch.float64)}, TrainingError, "no structure of the split 'train' has"),
    ({"gap": torch.where(torch.arange(60) < 40, 1.0, math.nan).double()}, TrainingError,
     "no structure of the split 'val' has the label 'gap'"),
])
def test_labels_that_do_not_fit_are_refused(store: Store, labels: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_labels(make_model(), changed(store, **labels), ROWS, ["energy", "gap"])


def test_splits_that_overlap_are_refused(store: Store) -> None:
    rows = ROWS | {"val": torch.arange(38, 50)}
    with pytest.raises(DataError, match=r"here: 2 structures belong to the splits 'train' and 'val' .*ids 390, 400"):
        check_apart(store, rows, "here")


def test_structures_are_named_as_ranges(store: Store) -> None:
    file = replace(store, ids=torch.arange(60), meta={"source": "file a.xyz"})
    assert named(file, torch.tensor([3])) == "frame 3"
    assert named(file, torch.tensor([9, 3, 4, 5, 11, 12])) == "frames 3–5, 9, 11, 12"
    assert named(store, torch.tensor([0, 2])) == "ids 10, 30"
    assert named(file, torch.arange(0, 60, 2), most=3) == "frames 0, 2, 4, … (30 in all)"


# -- the loop ------------------------------------------------------------------------------------------------------


def test_weights_that_stop_being_finite_end_the_run(store: Store, tmp_path: Path) -> None:
    """The loss of the last step is finite, and what the step leaves is not: nothing of it is saved."""
    with pytest.raises(TrainingError, match=r"validation loss is nan at step 1: \d+ parameters are not finite"):
        run_trainer(store, tmp_path / "run", steps=1, lr=1e300, ema=None, clip_norm=None)
    assert not (tmp_path / "run" / "checkpoints").exists()


# -- whole runs ----------------------------------------------------------------------------------------------------


def crystals(n: int = 10) -> list[ase.Atoms]:
    random, frames = np.random.default_rng(0), []
    for seed in range(n):
        atoms = ase.build.bulk("Si", cubic=True)
        atoms.rattle(0.05, seed=seed)
        frames.append(labelled(atoms, random, stress=random.normal(0, 0.01, 6)))
    return frames


def labelled(atoms: ase.Atoms, random: np.random.Generator, **more: Any) -> ase.Atoms:
    atoms.calc = SinglePointCalculator(atoms, energy=-5.4 * len(atoms) + random.normal(0, 0.1),
                                       forces=random.normal(0, 0.3, (len(atoms), 3)), **more)
    return atoms


def card(path: Path, **changes: Any) -> Card:
    return Card.from_dict({
        "schema": 1, "name": "tiny-si", "architecture": "painn", "derivatives": ["forces", "stress"],
        "config": {"cutoff": 4.0, "channels": 8, "num_layers": 1, "num_radial": 5},
        "targets": {"energy": {"readout": "energy", "unit": "eV", "reference": "fitted", "hidden": [8]}},
        "domain": {"elements": ["Si"], "pbc": True},
        "data": {"path": str(path), "units": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"},
                 "split": {"val": 2, "test": 2}},
        "recipe": {"losses": {"forces": {}, "stress": {}}, "batch": {"molecules": 4}, "budget": {"steps": 4}},
    } | changes)


def test_slabs_and_molecules_train_on_among_crystals_without_a_stress(tmp_path: Path) -> None:
    """In every order, with a cell of any kind; the metrics are those of the crystals."""
    random, frames = np.random.default_rng(1), crystals()
    slab = frames[0].copy()
    slab.center(vacuum=4, axis=2)
    slab.pbc = (True, True, False)
    flat = slab.copy()
    flat.cell[2] = 0
    ase.io.write(tmp_path / "all.extxyz", [*frames, labelled(slab, random), labelled(ase.Atoms("Si"), random),
                                           labelled(flat, random), labelled(ase.Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]),
                                                                            random)])
    folder = train(card(tmp_path / "all.extxyz"), out=tmp_path / "run", device="cpu", quiet=True)
    metrics = {(m.target, m.metric): m for m in Card.load(folder).metrics}
    assert math.isfinite(metrics["stress", "mae"].value)


def test_a_partial_stress_is_that_of_the_periodic_structures_and_its_gradient_is_finite() -> None:
    frames = crystals(2)
    atom, cluster = ase.Atoms("Si"), frames[0].copy()
    cluster.pbc = False
    model = zoo.create("painn", channels=8, num_layers=1, elements=["Si"], dtype="float64").train()
    mixed, alone = (Graph.from_atoms(f, dtype=torch.float64) for f in ([frames[0], atom, cluster, frames[1]], frames))
    stress, expected = (model(graph, ("stress",), partial_stress=True)["stress"] for graph in (mixed, alone))
    torch.testing.assert_close(stress[[0, 3]], expected, rtol=0, atol=1e-12)
    assert stress[[1, 2]].isnan().all()
    gradients = []
    for graph, rows in ((mixed, [0, 3]), (alone, [0, 1])):
        model.zero_grad()
        found = model(graph, ("stress",), partial_stress=True)["stress"]
        label = torch.full_like(found, torch.nan)
        label[rows] = 0.01
        residual = (found - label).where(label.isfinite(), 0.0)
        residual.square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, rtol=1e-9, atol=1e-12)
    with pytest.raises(StructureError, match="a periodic direction"):
        model(mixed, ("stress",))


def test_a_stress_without_a_volume_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    frames = crystals(5)
    frames[1].pbc = False
    frames[2].pbc, frames[2].cell[2] = (True, True, False), 0
    frames[3].pbc = (True, True, False)  # has a volume
    store = from_atoms(frames, properties={"stress": "stress"}, units={"stress": "eV/Å^3"})
    assert store.labels["stress"].isfinite().all((1, 2)).tolist() == [True, False, False, True, True]
    assert "the stress of 2 frames is left out, such as frame 1" in caplog.text


def test_stress_needs_a_crystal(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ase.io.write(tmp_path / "a.extxyz", [labelled(ase.build.molecule("SiH4"), random) for _ in range(10)])
    with pytest.raises((TrainingError, DataError), match="stress"):
        train(card(tmp_path / "a.extxyz", domain={"elements": ["H", "Si"]}), out=tmp_path / "run", device="cpu")


def test_a_frame_without_stress_is_named_if_it_could_have_one() -> None:
    frames = crystals(3)
    del frames[1].calc.results["stress"]
    labels = {"properties": {"stress": "stress"}, "units": {"stress": "eV/Å^3"}}
    with pytest.raises(DataError, match="frame 1 has no 'stress'"):
        from_atoms(frames, **labels)
    frames[1].pbc = False
    assert from_atoms(frames, **labels).labels["stress"][1].isnan().all()


def test_infinite_labels_are_refused_even_where_they_are_optional() -> None:
    frames = crystals(3)
    frames[2].calc.results["energy"] = math.inf
    with pytest.raises(DataError, match="frame 2: 'energy' is not finite"):
        from_atoms(frames, properties={"energy": "energy"}, units={"energy": "eV"}, optional=["energy"])


def test_a_run_goes_on_with_the_data_that_it_began_with(tmp_path: Path) -> None:
    """As many frames at the same places, and one label or one position that is another."""
    path = tmp_path / "a.extxyz"
    ase.io.write(path, crystals())

    def go(steps: int, *, resume: bool = False) -> Path:
        return train(card(path), out=tmp_path / "run", device="cpu", quiet=True, measure=False, resume=resume,
                     overrides=[f"budget.steps={steps}"])

    go(2)
    go(4, resume=True)
    for change in ("label", "position"):
        frames = crystals()
        if change == "label":
            frames[4].calc.results["energy"] += 1e-5
        else:
            frames[4].positions[3, 1] += 1e-5
        ase.io.write(path, frames)
        with pytest.raises(TrainingError, match="another content of the data"):
            go(6, resume=True)


# -- split files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "sub/split.safetensors", "..", "~/x"])
def test_a_split_file_stays_in_the_folder_of_the_card(tmp_path: Path, name: str) -> None:
    with pytest.raises(CardError, match=r"data\.split\.file.*no plain file name"):
        card(tmp_path / "a.extxyz", data={"path": "a.extxyz", "split": {"file": name}})


def test_a_split_file_is_there_as_it_was_and_its_parts_are_apart(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.extxyz", crystals())
    units = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"}
    prints = torch.from_numpy(fingerprints(from_atoms(crystals(), properties={"energy": "energy"}, units=units)))
    split = tmp_path / "my.safetensors"

    def go(**more: Any) -> None:
        described = card(tmp_path / "a.extxyz", data={"path": str(tmp_path / "a.extxyz"), "units": units,
                                                      "split": {"file": "my.safetensors", **more}})
        described.save(tmp_path / "card.yaml")
        train(tmp_path / "card.yaml", out=tmp_path / "run", device="cpu", quiet=True, fast_dev_run=True)

    with pytest.raises(DataError, match=r"card\.yaml:\d+: data\.split\.file: there is no .*my\.safetensors"):
        go()
    save_file({"train": prints[:6], "val": prints[5:8].clone(), "test": prints[8:]}, split)
    with pytest.raises(DataError, match=r"1 structures belong to the splits 'train' and 'val' at once: frame 5"):
        go()
    with pytest.raises(DataError, match=r"card\.yaml:\d+: data\.split\.sha256: .* has another hash"):
        go(sha256="0" * 64)
    save_file({"train": prints[:6], "val": prints[6:8]}, split)
    with pytest.raises(DataError, match="no split file: it has no test"):
        go()
    save_file({"train": prints[:6], "val": prints[6:8], "test": prints[8:]}, split)
    go(sha256=sha256_of(split))


