"""Metrics against their definitions, in physical units; what goes into a card, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from toy import toy_model
from typer.testing import CliRunner

import zoo
from zoo.cards.card import Card
from zoo.cli import app
from zoo.data import from_atoms, with_edges
from zoo.errors import CardError, DataError, EvaluationError
from zoo.evaluation.evaluation import predict_rows
from zoo.evaluation.metrics import TargetResult, commit, summarise

SAMPLE = Path(str(files("zoo.data").joinpath("samples", "qm9")))


def result(error: np.ndarray, *, label: np.ndarray | None = None, unit: str = "eV", structure: np.ndarray | None = None,
           baseline: np.ndarray | None = None) -> TargetResult:
    if label is None:
        label = np.linspace(-5, 5, len(error)).reshape(-1, *[1] * (error.ndim - 1)) * np.ones_like(error)
    structure = np.arange(len(error)) if structure is None else structure
    return TargetResult(unit, label + error, label, structure, np.zeros_like(label) if baseline is None else baseline)


def value(entries: list[dict], target: str, metric: str) -> dict:
    return next(e for e in entries if (e["target"], e["metric"]) == (target, metric))


def test_metrics_follow_their_definitions() -> None:
    error = np.random.default_rng(0).normal(size=500)
    found = summarise({"U0": result(error), "mu": result(error, unit="D")}, split="test", device="CPU")
    label = np.linspace(-5, 5, 500)
    assert value(found, "mu", "mae")["value"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert value(found, "mu", "rmse")["value"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-4)
    assert value(found, "mu", "max")["value"] == pytest.approx(np.abs(error).max(), rel=1e-4)
    r2 = 1 - (error**2).sum() / ((label - label.mean()) ** 2).sum()
    assert value(found, "mu", "r2")["value"] == pytest.approx(r2, rel=1e-4)
    assert value(found, "U0", "mae")["unit"] == "meV" and value(found, "mu", "mae")["unit"] == "D"
    assert value(found, "U0", "mae")["value"] == pytest.approx(1000 * value(found, "mu", "mae")["value"], rel=1e-4)
    assert {e["by"] for e in found} == {"zoo evaluate"} and {e["n"] for e in found} == {500}


def test_energies_of_force_fields_are_measured_per_atom_too() -> None:
    """Structure by structure: neither the mean error over the mean size, nor anything for other targets."""
    atoms, error = np.array([2, 8, 64]), np.array([0.1, -0.4, 3.2])
    energy = replace(result(error), atoms=atoms)
    found = summarise({"energy": energy, "gap": result(error)}, split="test", device="CPU")
    each = 1000 * error / atoms
    for metric, expected in (("mae_per_atom", np.abs(each).mean()), ("rmse_per_atom", np.sqrt((each**2).mean()))):
        entry = value(found, "energy", metric)
        assert entry["unit"] == "meV/atom" and entry["value"] == pytest.approx(expected, rel=1e-4)
    assert value(found, "energy", "rmse")["unit"] == "meV"
    assert not [e for e in found if e["target"] == "gap" and e["metric"].endswith("per_atom")]


def test_the_interval_covers_the_true_error_in_19_of_20_samples() -> None:
    """For forces too, whose errors are alike within a structure: atoms are not independent."""
    random, covered = np.random.default_rng(1), 0
    for _ in range(300):
        size = random.lognormal(size=200)
        structure = np.repeat(np.arange(200), 6)
        error = (size[structure] * np.sign(random.normal(size=1200)))[:, None] * np.ones(3)
        found = summarise({"forces": result(error, structure=structure)}, split="t", device="CPU")
        low, high = value(found, "forces", "mae")["interval"]
        covered += low < 1000 * np.exp(0.5) < high
    assert 0.90 < covered / 300 < 0.98


def test_references_do_not_count_as_explained() -> None:
    """Totals of −10,000 eV would have an R² of 1 whatever the model."""
    composition = np.linspace(-20_000, -1_000, 300)
    left = np.random.default_rng(2).normal(size=300)
    blind = result(-left, label=composition + left, baseline=composition)
    assert abs(value(summarise({"U0": blind}, split="t", device="CPU"), "U0", "r2")["value"]) < 0.02


def test_predictions_are_in_order_whatever_the_batches(tmp_path: Path) -> None:
    frames = [ase.build.molecule(name) for name in ("CH4", "H2O", "CH3CH2OH", "NH3", "C6H6", "O2")]
    store = with_edges(from_atoms([_labelled(a) for a in frames], properties={"energy": "energy", "forces": "f"},
                                  units={"energy": "eV", "forces": "eV/Å"}), 4.0)
    model = toy_model().double()
    rows = torch.tensor([5, 0, 2, 4])
    whole = predict_rows(model, store, rows, ["energy", "forces"], limits={"molecules": 10})
    parts = predict_rows(model, store, rows, ["energy", "forces"], limits={"atoms": 9})
    for name in ("energy", "forces"):
        np.testing.assert_allclose(parts[name].predicted, whole[name].predicted, atol=1e-10)
    expected = [model.predict(frames[row])["energy"] for row in rows.tolist()]
    np.testing.assert_allclose(whole["energy"].predicted, expected, atol=1e-9)
    assert whole["forces"].structure.tolist() == np.repeat(np.arange(4), [2, 5, 9, 12]).tolist()
    assert parts["energy"].atoms.tolist() == [2, 5, 9, 12] and whole["forces"].atoms is None
    assert predict_rows(model, store, rows, ["energy"], limits={"molecules": 10})["energy"].atoms is None
    np.testing.assert_array_equal(whole["energy"].label, store.labels["energy"][rows].numpy())


def _labelled(atoms: ase.Atoms) -> ase.Atoms:
    atoms = atoms.copy()
    atoms.info["energy"], atoms.arrays["f"] = float(atoms.positions.sum()), np.full((len(atoms), 3), 0.1)
    return atoms


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [_labelled(ase.build.molecule("CH4")) for _ in range(7)]
    store = with_edges(from_atoms(frames, properties={"energy": "energy"}, units={"energy": "eV"}), 4.0)
    model = toy_model().double()
    expected = predict_rows(model, store, torch.arange(7), ["energy"], limits={"molecules": 7})["energy"]
    forward, seen = model.forward, []

    def small_memory(graph, *args, **kwargs):
        seen.append(graph.num_graphs)
        if graph.num_graphs > 2:
            raise torch.OutOfMemoryError("no room")
        return forward(graph, *args, **kwargs)

    monkeypatch.setattr(model, "forward", small_memory)
    found = predict_rows(model, store, torch.arange(7), ["energy"], limits={"molecules": 7})["energy"]
    np.testing.assert_allclose(found.predicted, expected.predicted, atol=1e-12)
    assert seen == [7, 3, 1, 2, 4, 2, 2]


def test_missing_labels_are_left_out_and_broken_predictions_are_not() -> None:
    frames = [_labelled(ase.build.molecule("CH4")) for _ in range(4)]
    store = with_edges(from_atoms(frames, properties={"energy": "energy"}, units={"energy": "eV"}), 4.0)
    labels = store.labels["energy"].clone()
    labels[1] = torch.nan
    store = replace(store, labels={"energy": labels})
    model = toy_model().double()
    found = predict_rows(model, store, torch.arange(4), ["energy"], limits={"molecules": 4})["energy"]
    assert found.structure.tolist() == [0, 2, 3]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(EvaluationError, match="not finite"):
        predict_rows(model, store, torch.arange(4), ["energy"], limits={"molecules": 4})


# -- names, cards, commands ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights whose card says it was trained on QM9."""
    torch.manual_seed(0)
    targets = {"U0": {"readout": "energy", "unit": "eV"}, "gap": {"readout": "intensive", "unit": "eV"}}
    model = zoo.create("painn", targets=targets, elements=["H", "C", "N", "O", "F"], pbc=False, cutoff=4.0,
                       channels=8, num_layers=1)
    place = tmp_path_factory.mktemp("cards") / "tiny"
    zoo.save(model, place, name="tiny-qm9", data={"dataset": "qm9"})
    return place


def test_only_the_test_molecules_of_the_sample_are_measured(folder: Path) -> None:
    found = zoo.evaluate(folder, data=SAMPLE)
    assert (found.split, found.n) == ("test", 100)
    assert sum(part["n"] for part in found.breakdown["gap"]["size"].values()) == 100
    assert found.breakdown["gap"]["element"]["H"]["n"] <= 100
    with pytest.raises(EvaluationError, match="were trained on"):
        zoo.evaluate(folder, data=SAMPLE, split="train")
    marked = zoo.evaluate(folder, data=SAMPLE, split="all", allow_overlap=True, limit=50)
    assert "trained on" in marked.split and marked.n == 50


def test_metrics_reach_a_writable_card_and_no_other(folder: Path, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = Card.load(folder)
    ran = CliRunner().invoke(app, ["evaluate", str(folder), "--data", str(SAMPLE), "--write"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert "meV" in ran.output and (tmp_path / "evaluation.yaml").is_file()
    after = Card.load(folder)
    assert after.weights == before.weights
    assert {(m.split, m.target) for m in after.metrics} == {("test", "U0"), ("test", "gap")}
    count = len(after.metrics)
    CliRunner().invoke(app, ["evaluate", str(folder), "--data", str(SAMPLE), "--write"])
    assert len(Card.load(folder).metrics) == count, "metrics of the same split are replaced"
    installed = tmp_path / "site-packages" / "tiny"
    installed.mkdir(parents=True)
    for name in ("card.yaml", "model.safetensors"):
        (installed / name).write_bytes((folder / name).read_bytes())
    for arguments, kind, message in (([str(installed)], CardError, "installed package"),
                                     ([str(folder), "--limit", "5"], EvaluationError, "whole splits")):
        ran = CliRunner().invoke(app, ["evaluate", *arguments, "--data", str(SAMPLE), "--write"])
        assert isinstance(ran.exception, kind) and message in str(ran.exception)


def test_what_others_wrote_into_the_card_meanwhile_stays(folder: Path, tmp_path: Path) -> None:
    """A measurement takes minutes to hours; a card whose weights were replaced meanwhile is left alone."""
    folder = shutil.copytree(folder, tmp_path / "own")
    measured = zoo.load(folder).required_card
    Card.load(folder).replace(stability={"nve": {"drift": 1.0}}).save(folder)
    assert measured.reread().stability == {"nve": {"drift": 1.0}}
    fresh = Card.load(folder)
    fresh.replace(weights={**fresh.to_dict()["weights"], "sha256": "0" * 64}).save(folder)
    with pytest.raises(CardError, match="replaced while they were measured"):
        measured.reread()


def test_a_file_of_ones_own_needs_its_units(folder: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "own.extxyz", [_with_gap(name) for name in ("CH4", "H2O", "NH3")])
    with pytest.raises(DataError, match="in which unit"):
        zoo.evaluate(folder, data=tmp_path / "own.extxyz")
    model = zoo.load(folder)
    model.card = model.card.replace(data={"dataset": "qm9", "keys": {"gap": "gap_ha"}, "units": {"gap": "Hartree"}})
    found = zoo.evaluate(model, data=tmp_path / "own.extxyz")
    assert found.n == 3 and "unknown" in found.split
    np.testing.assert_allclose(found.results["gap"].label, 0.3 * 27.211386, rtol=1e-6)
    with pytest.raises(EvaluationError, match="does not predict dipole"):
        zoo.evaluate(model, data=tmp_path / "own.extxyz", targets=["dipole"])


def _with_gap(name: str) -> ase.Atoms:
    atoms = ase.build.molecule(name)
    atoms.info["gap_ha"] = 0.3
    return atoms


def test_elements_outside_the_domain_are_refused(folder: Path, tmp_path: Path) -> None:
    ase.io.write(tmp_path / "own.extxyz", [_with_gap("CH3Cl")])
    model = zoo.load(folder)
    model.card = model.card.replace(data={"dataset": "qm9", "keys": {"gap": "gap_ha"}, "units": {"gap": "Hartree"}})
    with pytest.raises(DataError, match="has Cl"):
        zoo.evaluate(model, data=tmp_path / "own.extxyz")


@pytest.mark.skipif(not (Path(__file__).parents[2] / ".git").exists(), reason="no git repository")
def test_metrics_name_the_commit_of_a_source_tree() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert commit() == head.stdout.strip() != ""
