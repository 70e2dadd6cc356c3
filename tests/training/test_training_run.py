"""Whole runs on the QM9 sample that ships: from a card to a card folder that loads, evaluates and fine-tunes."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import ase.build
import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.lj import LennardJones
from typer.testing import CliRunner

import zoo
from zoo.cards.card import Card
from zoo.cli import app
from zoo.errors import DataError, EvaluationError, TrainingError, ZooError
from zoo.files.locks import locked
from zoo.training import train
from zoo.training.finetune import finetune_card
from zoo.training.prepare import copy_weights, untrained

SAMPLE = Path(str(files("zoo.data").joinpath("samples", "qm9")))


def card(**changes: Any) -> Card:
    return Card.from_dict({
        "schema": 1, "name": "tiny-qm9", "architecture": "painn",
        "config": {"cutoff": 4.0, "channels": 8, "num_layers": 1, "num_radial": 5},
        "targets": {"U0": {"readout": "energy", "unit": "eV", "reference": "fitted", "hidden": [8]},
                    "gap": {"readout": "intensive", "unit": "eV", "hidden": [8]},
                    "mu": {"readout": "dipole", "unit": "D", "hidden": [8]}},
        "domain": {"elements": ["H", "C", "N", "O", "F"]},
        "data": {"dataset": "qm9"},
        "recipe": {"lr": 5e-3, "budget": {"steps": 30}, "batch": {"molecules": 40}, "eval_every": 15},
    } | changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(card(), out=tmp_path_factory.mktemp("runs") / "tiny", data=SAMPLE, device="cpu", quiet=True)


def test_a_run_leaves_a_card_folder_that_loads(trained: Path) -> None:
    model = zoo.load(trained, verify="golden")
    written = Card.load(trained)
    assert written.training.steps_done == 30 and written.training.epochs_done == pytest.approx(30 / 9, abs=0.01)
    assert set(written.references["U0"].values) == {"H", "C", "N", "O", "F"}
    assert -40 * 27.3 < written.references["U0"].values["C"] < -37 * 27.2, "eV of a carbon atom"
    assert {(m.target, m.metric) for m in written.metrics} >= {("U0", "mae"), ("mu", "r2")}
    assert {m.by for m in written.metrics} == {"zoo evaluate"}
    assert {m.unit for m in written.metrics if m.target == "U0" and m.metric == "mae"} == {"meV"}
    assert model.predict(ase.build.molecule("CH4"))["U0"] == pytest.approx(-1102, abs=3)
    for name in ("metrics.jsonl", "run.yaml", "curves.png", "parity.png"):
        assert (trained / name).stat().st_size > 100


def test_evaluation_finds_the_metrics_of_the_card_again(trained: Path) -> None:
    found = zoo.evaluate(trained, data=SAMPLE)
    assert found.split == "test" and found.n == 100
    for metric in Card.load(trained).metrics:
        assert found.value(metric.target, metric.metric) == pytest.approx(metric.value, rel=1e-3, abs=1e-6)


def test_a_folder_in_use_is_not_overwritten(trained: Path) -> None:
    before = (trained / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="checkpoints of another run"):
        train(card(), out=trained, data=SAMPLE, device="cpu", quiet=True)
    # It is at its end already.
    train(card(), out=trained, data=SAMPLE, device="cpu", quiet=True, resume=True, measure=False)
    assert (trained / "model.safetensors").read_bytes() == before


def test_a_run_goes_on_from_the_command_line(tmp_path: Path) -> None:
    path = card().save(tmp_path / "card.yaml")
    arguments = ["train", str(path), "--out", str(tmp_path / "run"), "--data", str(SAMPLE), "--device", "cpu", "-q",
                 "--no-measure"]
    ran = CliRunner().invoke(app, [*arguments, "--set", "budget.steps=5"])
    assert ran.exit_code == 0, ran.output
    ran = CliRunner().invoke(app, [*arguments, "--set", "budget.steps=9", "--resume"])
    assert ran.exit_code == 0, ran.output
    assert Card.load(tmp_path / "run").training.steps_done == 9


@pytest.mark.parametrize(
    ("changes", "overrides", "error", "message"),
    [
        ({}, ["lrr=1"], TrainingError, "did you mean"),
        ({}, ["data.dataset=qm10"], ZooError, "qm10"),
        ({"targets": {"U0": {"readout": "energy", "unit": "eV", "reference": "isolated"}}}, [], TrainingError,
         r"holds no references\.U0\.values"),
        ({"targets": {"U0": {"readout": "energy", "unit": "eV"}}}, [], TrainingError, "beyond 10.0 eV per atom"),
        ({"targets": {"E": {"readout": "energy", "unit": "eV", "reference": "fitted"}}}, [], DataError, "no label E"),
        ({"targets": {"U0": {"readout": "energy", "unit": "D", "reference": "fitted"}}}, [], DataError, "eV"),
        ({"domain": {"elements": ["H", "C", "N", "O"]}}, [], DataError, "has F, which"),
        ({"recipe": {"from": "no-such-model"}}, [], ZooError, "no-such-model"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(tmp_path: Path, changes: dict, overrides: list[str],
                                                     error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train(card(**changes), out=tmp_path / "run", data=SAMPLE, device="cpu", overrides=overrides, quiet=True)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_units_of_the_card_are_those_of_the_metrics(tmp_path: Path) -> None:
    """The same run in kcal/mol gives the same errors in other numbers."""
    short = {"budget": {"steps": 4}, "batch": {"molecules": 40}, "losses": {}}
    energy = {"readout": "energy", "reference": "fitted", "hidden": [8]}
    in_ev, in_kcal = (card(targets={"U0": energy | {"unit": unit}}, recipe=short) for unit in ("eV", "kcal/mol"))
    folders = [train(described, out=tmp_path / described.targets["U0"].unit[:2], data=SAMPLE, device="cpu", quiet=True,
                     measure=False) for described in (in_ev, in_kcal)]
    maes = [Card.load(folder).training.best_validation["U0.mae"] for folder in folders]
    assert maes[1] == pytest.approx(maes[0] * 23.0605, rel=1e-3)


def test_a_dry_run_tells_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(card(), out=tmp_path / "run", data=SAMPLE, device="cpu", fast_dev_run=True)
    said = capsys.readouterr().out
    assert "U0 [eV]: l1, weight 1" in said and "left by the references" in said and "MiB" in said
    assert "360 to train on, 40 to validate" in said and "written and read back" in said
    assert not (tmp_path / "run").exists()


def test_a_warm_start_begins_where_the_other_ended(trained: Path, tmp_path: Path) -> None:
    source = zoo.load(trained)
    again = untrained(card(targets={**{n: t.model_dump(exclude_unset=True) for n, t in card().targets.items()},
                                    "Cv": {"readout": "energy", "unit": "cal/mol/K", "reference": "fitted"}}),
                      seed=7, dtype=torch.float32)
    started = copy_weights(again, source)
    assert started == {"copied": ["U0", "gap", "mu"], "new": ["Cv"]}
    for name, value in source.state_dict().items():
        assert name.endswith("coefficients") or torch.equal(value, again.state_dict()[name])
    folder = train(card(), out=tmp_path / "run", data=SAMPLE, device="cpu", quiet=True, measure=False,
                   overrides=[f"from={trained}", "freeze=[backbone.*]", "budget.steps=3", "lr=1e-6"])
    after = zoo.load(folder).state_dict()
    assert all(torch.equal(v, after[n]) for n, v in source.state_dict().items() if n.startswith("backbone"))
    before, now = (Card.load(run).training for run in (trained, folder))
    assert now.best_validation["gap.mae"] < 1.1 * before.best_validation["gap.mae"], (
        "the readouts were taken over, and their references refitted")
    assert now.earlier_hours == before.hours > 0 and now.all_hours == now.hours + before.hours


def test_a_run_that_goes_on_remembers_what_it_began_with(trained: Path, tmp_path: Path) -> None:
    start, out = tmp_path / "start", tmp_path / "run"
    shutil.copytree(trained, start)

    def go(steps: int, *overrides: str, resume: bool = False) -> Card:
        return Card.load(train(card(), out=out, data=SAMPLE, device="cpu", quiet=True, measure=False, resume=resume,
                               overrides=[f"budget.steps={steps}", "lr=1e-6", *overrides]))

    first = go(3, f"from={start}")
    with pytest.raises(TrainingError, match=r"began with .*start and goes on from its own"):
        go(5, "from=painn-qm9", resume=True)
    shutil.rmtree(start)  # no longer needed
    last = go(5, resume=True)
    assert last.training.steps_done == 5
    assert last.training.earlier_hours == first.training.earlier_hours == Card.load(trained).training.hours > 0
    assert last.recipe["from"] == first.recipe["from"] == str(start)


def test_a_run_from_random_weights_goes_on_as_one(trained: Path) -> None:
    with pytest.raises(TrainingError, match="began with random weights"):
        train(card(), out=trained, data=SAMPLE, device="cpu", quiet=True, resume=True, overrides=["from=painn-qm9"])


def test_a_warm_start_needs_the_same_backbone(trained: Path) -> None:
    other = untrained(card(config={"cutoff": 4.0, "channels": 16, "num_layers": 1}), seed=0, dtype=torch.float32)
    with pytest.raises(TrainingError, match="does not fit"):
        copy_weights(other, trained)


# -- fine-tuning ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty rattled molecules with energies in kcal/mol under a name of their own, and forces in eV/Å."""
    random, structures = np.random.default_rng(0), []
    for _ in range(40):
        atoms = ase.build.molecule(random.choice(["CH4", "H2O", "CH3CH2OH", "NH3"]))
        atoms.positions += random.normal(scale=0.08, size=atoms.positions.shape)
        lj = LennardJones(sigma=0.9, epsilon=0.05, rc=4.0, smooth=True)
        energy = lj.get_potential_energy(atoms) - 10.0 * atoms.numbers.sum()
        atoms.arrays["F"] = lj.get_forces(atoms)
        atoms.info["E_kcal"] = energy * 23.06054783
        atoms.calc = None
        structures.append(atoms)
    path = tmp_path_factory.mktemp("frames") / "own.extxyz"
    ase.io.write(path, structures)
    return path


def test_one_command_fine_tunes_on_a_file(trained: Path, frames: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, [
        "finetune", str(trained), str(frames), "--target", "energy=E_kcal", "--unit", "energy=kcal/mol",
        "--forces", "F", "--unit", "forces=eV/Å", "--out", str(tmp_path / "own"), "--set", "budget.epochs=3",
        "--device", "cpu", "-q"])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    written = Card.load(tmp_path / "own")
    assert written.targets["energy"].unit == "eV" and written.derivatives == ["forces"]
    assert written.domain.elements == ["H", "C", "N", "O"]
    measured = {(m.target, m.metric): m for m in written.metrics}
    assert measured["forces", "mae"].unit == "meV/Å" and measured["energy", "mae"].n == 4
    assert measured["energy", "mae"].value < 10_000, "references in eV were fitted to labels in kcal/mol"
    model = zoo.load(tmp_path / "own")
    assert set(model.predict(ase.build.molecule("H2O"), derivatives=("forces",))) >= {"energy", "forces"}
    # What was trained on is recognised, also in another order and another file.
    shuffled = ase.io.read(frames, index=":")[::-1]
    ase.io.write(tmp_path / "shuffled.extxyz", shuffled)
    again = zoo.evaluate(tmp_path / "own", data=tmp_path / "shuffled.extxyz")
    assert (again.split, again.n) == ("test", 4)
    assert again.value("energy") == pytest.approx(measured["energy", "mae"].value, rel=1e-3)
    with pytest.raises(EvaluationError, match="32 of the 40 structures were trained on"):
        zoo.evaluate(tmp_path / "own", data=tmp_path / "shuffled.extxyz", split="all")
    marked = zoo.evaluate(tmp_path / "own", data=tmp_path / "shuffled.extxyz", split="all", allow_overlap=True)
    assert marked.split == "all (32 trained on)"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"targets": []}, TrainingError, "E_kcal"),
        ({"targets": ["energy=E_kcl"], "units": ["energy=eV"]}, DataError, "did you mean 'E_kcal'"),
        ({"targets": ["energy=E_kcal"]}, DataError, "the unit of 'E_kcal'"),
        ({"targets": ["energy=E_kcal"], "units": ["enrgy=eV"]}, DataError, "unit"),
        ({"targets": ["gap=E_kcal"], "units": ["gap=eV", "forces=eV/Å"], "forces": "F"}, TrainingError,
         "derive from an energy"),
        ({"targets": ["energy="]}, TrainingError, "expected NAME=VALUE"),
    ],
)
def test_a_unit_is_never_guessed_and_a_key_never_missing(trained: Path, frames: Path, options: dict,
                                                         error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        finetune_card(str(trained), frames, **options)


def test_what_ase_parsed_itself_is_in_its_units(trained: Path, tmp_path: Path) -> None:
    atoms = ase.build.molecule("CH4")
    atoms.calc = LennardJones()
    atoms.get_forces()
    ase.io.write(tmp_path / "ase.extxyz", atoms)
    described = finetune_card(str(trained), tmp_path / "ase.extxyz", targets=["energy"], forces="forces")
    assert described.data.units == {"energy": "eV", "forces": "eV/Å"}


@pytest.mark.slow
def test_a_crystal_is_learnt_from_energies_forces_and_stress(tmp_path: Path) -> None:
    """Copper by EMT: errors of all three fall well below those of a model that predicts no interaction at all."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    random, frames = np.random.default_rng(0), []
    for _ in range(60):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell @ (np.eye(3) + random.uniform(-0.05, 0.05, (3, 3))), scale_atoms=True)
        atoms.positions += random.normal(scale=0.05, size=(4, 3))
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    ase.io.write(tmp_path / "cu.extxyz", frames)
    described = Card.from_dict({
        "schema": 1, "name": "tiny-cu", "architecture": "painn", "derivatives": ["forces", "stress"],
        "config": {"cutoff": 4.0, "channels": 16, "num_layers": 2, "num_radial": 8},
        "targets": {"energy": {"readout": "energy", "unit": "eV", "reference": "fitted", "hidden": [16]}},
        "domain": {"elements": ["Cu"], "pbc": True, "spin": None},
        "data": {"path": str(tmp_path / "cu.extxyz"),
                 "units": {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3"}},
        "recipe": {"losses": {"energy": {"per_atom": True}, "forces": {"weight": 5}, "stress": {"weight": 50}},
                   "lr": 1e-2, "batch": {"molecules": 8}, "budget": {"epochs": 40}, "ema": 0.9},
    })
    folder = train(described, out=tmp_path / "run", device="cpu", quiet=True)
    metrics = {(m.target, m.metric): m.value for m in Card.load(folder).metrics}
    assert metrics["forces", "r2"] > 0.8 and metrics["stress", "r2"] > 0.8 and metrics["energy", "r2"] > 0.5
    assert {m.unit for m in Card.load(folder).metrics if m.target == "stress" and m.metric == "mae"} == {"meV/Å^3"}


def test_one_run_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with locked(out, seconds=0, error=ZooError), pytest.raises(TrainingError, match=r"another process .* Fix: wait"):
        train(card(), out=tmp_path / "other" / ".." / "run", data=SAMPLE, device="cpu", quiet=True)
    assert not out.exists()
