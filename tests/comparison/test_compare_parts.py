"""The parts of `zoo compare` that need no training: who takes part, by which recipe, tables, pictures, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import zoo
from zoo.cards.card import Card
from zoo.cli import app
from zoo.comparison.entries import find_entries
from zoo.comparison.pictures import draw
from zoo.comparison.result import Comparison, EntrySummary, RunResult
from zoo.comparison.setup import Setup, differences, make_setup, recipe_of, with_validation_interval
from zoo.comparison.tables import failures, main_table, size_table
from zoo.comparison.writing import latex, markdown, write
from zoo.errors import DataError, TrainingError, UnknownNameError
from zoo.pictures import figure as plots


def setup(**changes: Any) -> Setup:
    asked: dict[str, Any] = {"dataset": None, "path": None, "targets": ["U0"], "steps": 100, "seconds": None,
                             "same_recipe": False, "overrides": ()}
    return make_setup(**asked | changes)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    recipe = {"lr": 5e-3, "batch": {"molecules": 4}, "budget": {"hours": 9},
              "schedule": {"kind": "cosine", "warmup": 300}, "early_stop": {"patience": 2}, "seed": 7,
              "from": "schnet-qm9", "losses": {"gap": {"weight": 3.0}}}
    made = Card.from_dict({"schema": 1, "name": "mine", "architecture": "schnet", "config": {"cutoff": 4.0},
                           "targets": {"gap": {"readout": "intensive", "unit": "eV"}}, "recipe": recipe})
    return made.save(tmp_path / "mine")


# -- who -----------------------------------------------------------------------------------------------------------


def test_architectures_presets_models_and_cards(card):
    bare, wide, model, mine = find_entries(["schnet", "painn:paper", "nequip-qm9", str(card)])
    assert (bare.name, bare.preset, bare.card, bare.remarks) == ("schnet", "small", None, ())
    assert (wide.name, wide.preset, wide.remarks) == ("painn:paper", "paper", ("preset paper",))
    assert wide.config["channels"] == 128
    assert (model.name, model.architecture, model.preset) == ("nequip-qm9", "nequip", None) and model.card is not None
    assert (mine.name, mine.config) == ("mine", {"cutoff": 4.0})


@pytest.mark.parametrize(("names", "words"), [
    (["schnett"], "did you mean 'schnet'"), (["schnet:papr"], "did you mean 'paper'"), (["schnet-qm8"], "schnet-qm9"),
    (["no/such/card.yaml"], "no/such/card.yaml"),
])
def test_a_slip_of_the_keyboard_is_told_at_once(names, words):
    with pytest.raises(zoo.ZooError, match=words):
        find_entries(["painn", *names])


def test_rows_have_names_of_their_own(card):
    with pytest.raises(TrainingError, match="named twice: schnet"):
        find_entries(["schnet", "painn", "schnet"])
    assert len(find_entries(["schnet", "schnet:paper"])) == 2
    with pytest.raises(TrainingError, match="no model was given"):
        find_entries([])


def test_a_broken_plugin_or_card_is_a_row(yard, tmp_path):
    yard.install("zoo-rotten", {"zoo_rotten.py": "raise ImportError('no libfoo')\n"}, entry={"rotten": "zoo_rotten"})
    bad = tmp_path / "bad.yaml"
    bad.write_text("schema: 1\nname: bad\narchitecture: schnet\ntargts: {}\n")
    rotten, broken, fine = find_entries(["rotten", str(bad), "schnet"])
    assert "no libfoo" in rotten.error and "targts" in broken.error and fine.error is None
    with pytest.raises(UnknownNameError):
        find_entries(["rotten2"])


# -- by which recipe -----------------------------------------------------------------------------------------------


def test_a_card_keeps_its_recipe_but_not_its_budget(card):
    shared, own = setup(), find_entries([str(card)])[0]
    recipe = recipe_of(own, shared, seed=3)
    assert (recipe["lr"], recipe["batch"], recipe["seed"]) == (5e-3, {"molecules": 4}, 3)
    assert recipe["budget"]["steps"] == 100 and recipe["budget"]["hours"] is None and recipe["early_stop"] is None
    assert recipe["schedule"] == {"kind": "cosine", "warmup": 10}
    assert "from" not in recipe and recipe["losses"] == {}
    told = differences(own, shared)
    assert told[0] == "card mine" and "lr 0.005" in told and any(t.startswith("batch molecules 4") for t in told)
    assert not any(t.startswith(("budget", "seed", "losses")) for t in told)
    assert recipe_of(own, setup(targets=["gap"]), seed=0)["losses"] == {"gap": {"weight": 3.0}}


def test_the_same_recipe_when_asked(card):
    own, plain = find_entries([str(card), "schnet"])
    same = setup(same_recipe=True)
    assert recipe_of(own, same, seed=1) == recipe_of(plain, same, seed=1)
    assert differences(own, same) == ["card mine"] and differences(plain, same) == []


def test_what_is_set_holds_for_everyone(card):
    own, plain = find_entries([str(card), "schnet"])
    changed = setup(overrides=("training.lr=2e-3", "schedule.warmup=1"))
    assert {recipe_of(c, changed, seed=0)["lr"] for c in (own, plain)} == {2e-3}
    assert {recipe_of(c, changed, seed=0)["schedule"]["warmup"] for c in (own, plain)} == {1}


def test_a_budget_in_seconds_and_the_pace_of_validation():
    timed = setup(steps=None, seconds=90.0)
    assert timed.recipe["budget"] == {"steps": None, "hours": 0.025, "epochs": None}
    assert setup(steps=None).steps == 400
    # Twenty looks a run; fewer where a look at many molecules would cost more than the steps between.
    assert with_validation_interval(setup(steps=1000), 40).recipe["eval_every"] == 50
    assert with_validation_interval(setup(steps=100), 1000).recipe["eval_every"] == 139
    assert with_validation_interval(setup(steps=4), 1).recipe["eval_every"] == 1


def test_readouts_of_qm9_and_of_others(tmp_path):
    asked = setup(targets=["mu", "gap", "U0", "Cv=intensive"]).targets
    assert {name: spec.readout for name, spec in asked.items()} == {
        "mu": "dipole", "gap": "intensive", "U0": "energy", "Cv": "intensive"}
    assert {name: spec.reference for name, spec in asked.items()} == {
        "mu": "none", "gap": "none", "U0": "fitted", "Cv": "none"}
    assert asked["mu"].unit == "D"
    own = tmp_path / "own.xyz"
    own.touch()
    file = setup(path=own, targets=["energy", "forces"], overrides=(
        "data.units.energy=kcal/mol", "data.units.forces=eV/Å", "losses.forces.weight=20"))
    assert file.labels == ["energy", "forces"] and file.recipe["losses"] == {"forces": {"weight": 20}}
    with pytest.raises(DataError, match=r"data\.units\.energy"):
        setup(path=own, targets=["energy"])


# -- tables and pictures -------------------------------------------------------------------------------------------


def run(model: str, size: int, value: float, *, seed: int = 0, half: float = 1.0, **more: Any) -> RunResult:
    mae = {"split": "test", "target": "U0", "metric": "mae", "value": value, "unit": "meV",
           "interval": [value - half, value + half]}
    history = tuple({"step": s, "seconds": 2.0 * s, "processor": 1.0 * s, "U0": value * 4 / s} for s in (1, 2, 4))
    return RunResult(**{"model": model, "size": size, "seed": seed, "parameters": 1234567, "cutoff": 5.0, "steps": 100,
                   "epochs": 12.5, "seconds": 8.0, "processor": 4.0, "device": "CPU, 1 thread(s)", "metrics": (mae,),
                   "history": history} | more)


def comparison(*runs: RunResult, **changes: Any) -> Comparison:
    entries = tuple(EntrySummary(model=name) for name in dict.fromkeys(r.model for r in runs))
    made: dict[str, Any] = {
        "data": "some", "counts": {"val": 4, "test": 9}, "targets": ("U0",), "seeds": (0,),
        "sizes": tuple(sorted({r.size for r in runs})), "budget": {"steps": 100, "seconds": None},
        "recipe": {"lr": 1e-3, "batch": {"molecules": 16}, "schedule": {"kind": "cosine"}}, "entries": entries,
        "runs": runs, "baseline": {"U0": {10: 500.0, 100: 50.0}}}
    return Comparison(**made | changes)


def test_the_table_shows_uncertainties_and_the_best():
    found = comparison(run("a", 10, 312.44, half=28.3), run("b", 10, 3.3604, half=0.041),
                       run("a", 100, 7.0, half=0.0))
    curve = size_table(found, "U0")
    assert curve.header == ["model", "10", "100"]
    assert curve.rows == [["a", "312 ± 28", "7"], ["b", "3.360 ± 0.041", "–"], ["composition alone", "500", "50"]]
    # Nobody is best where only one was measured.
    assert curve.bold == {(1, 1)}
    main = main_table(found)
    assert main.title == "Test MAE with 100 training molecules"
    assert dict(zip(main.header, main.rows[0])) == {
        "model": "a", "parameters": "1,234,567", "cut-off / Å": "5", "steps": "100", "epochs": "12.5", "time / s": "8",
        "processor / s": "4", "U0 / meV": "7"}
    assert set(main.rows[1][1:]) == {"–"}


def test_several_seeds_give_mean_and_deviation():
    found = comparison(run("a", 10, 10.0), run("a", 10, 14.0, seed=1), seeds=(0, 1))
    assert found.value("a", "U0") == (12.0, pytest.approx(8**0.5))
    assert main_table(found).rows[0][-1] == "12.0 ± 2.8"
    # One of two failed: what is left is one seed.
    lost = comparison(run("a", 10, 10.0, half=3.0), RunResult(model="a", size=10, seed=1, error="no"), seeds=(0, 1))
    assert lost.value("a", "U0") == (10.0, 3.0)


def test_a_label_that_no_test_molecule_has(tmp_path):
    found = comparison(run("a", 10, 1.0), run("b", 10, 2.0), targets=("U0", "gap"))
    assert found.value("a", "gap") is None and found.unit("gap") == ""
    with pytest.raises(zoo.ZooError, match="no mae of 'gap'"):
        found.runs[0].metric("gap")
    assert main_table(found).rows[0][-1] == "–"
    write(found, tmp_path)


def test_errors_are_told_once_each():
    broken = [RunResult(model="b", size=size, seed=0, error="RuntimeError: boom\nmore") for size in (10, 100)]
    found = comparison(run("a", 10, 1.0), run("a", 100, 1.0), *broken,
                       RunResult(model="c", size=100, seed=0, error="x"), run("c", 10, 2.0))
    assert failures(found) == ["b: RuntimeError: boom\nmore", "c (100 molecules, seed 0): x"]
    main = main_table(found)
    assert [row[-1] for row in main.rows] == ["", "failed: RuntimeError: boom", "failed: x", ""]
    assert "- b: RuntimeError: boom more" in markdown(found)


def test_markdown_and_latex(tmp_path):
    found = comparison(run("a_1", 10, 1.0, half=0.5), run("b", 10, 2.0),
                       entries=(EntrySummary(model="a_1", differs=("lr 1 | 2",)), EntrySummary(model="b")))
    page = markdown(found)
    assert "| a_1 | 1,234,567 | 5 | 100 | 12.5 | 8 | 4 | **1.00 ± 0.50** | lr 1 \\| 2 |" in page
    assert r"a\_1 & 1,234,567 & 5 & 100 & 12.5 & 8 & 4 & \textbf{1.00 $\pm$ 0.50} & lr 1 | 2 \\" in latex(found)
    write(found, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"U0.png", "comparison.json", "comparison.md", "comparison.tex"}
    assert "![U0: error" in (tmp_path / "comparison.md").read_text()
    assert json.loads((tmp_path / "comparison.json").read_text())["cells"][0]["metrics"][0]["value"] == 1.0


def test_the_picture_shows_what_was_measured(tmp_path, monkeypatch):
    kept: list[Any] = []
    monkeypatch.setattr(plots, "write", lambda figure, picture: kept.append(figure) or picture)
    found = comparison(run("a", 10, 300.0), run("b", 10, 200.0), run("a", 100, 30.0), run("b", 100, 40.0),
                       RunResult(model="c", size=10, seed=0, error="x"))
    draw(found, "U0", tmp_path / "U0.png")
    by_size, by_parameters, by_time = kept[0].axes
    assert all(axis.get_xscale() == axis.get_yscale() == "log" for axis in kept[0].axes)
    lines = {container.get_label(): container.lines[0] for container in by_size.containers}
    assert {name: line.get_xydata().tolist() for name, line in lines.items()} == {
        "a": [[10, 300], [100, 30]], "b": [[10, 200], [100, 40]]}
    assert by_size.get_lines()[-1].get_xydata().tolist() == [[10, 500], [100, 50]]
    points = [container.lines[0].get_xydata().tolist() for container in by_parameters.containers]
    assert points == [[[1234567, 30]], [[1234567, 40]]]
    drawn = [line.get_xydata().tolist() for line in by_time.get_lines()]
    assert drawn[:2] == [[[1, 120], [2, 60], [4, 30]], [[4, 30]]]
    assert "processor time / s" in by_time.get_xlabel() and "U0 / meV" in by_size.get_ylabel()
    assert len({line.get_color() for line in lines.values()}) == 2
    assert [text.get_text() for text in kept[0].legends[0].get_texts()] == ["a", "b", "composition alone"]
    # On an accelerator the processor only waits.
    on_gpu = comparison(run("a", 10, 300.0, device="1 × some GPU"))
    draw(on_gpu, "U0", tmp_path / "U0.png")
    assert kept[1].axes[2].get_xlabel() == "training, time / s" and "processor / s" not in main_table(on_gpu).header
    assert kept[1].axes[2].get_lines()[0].get_xydata().tolist() == [[2, 1200], [4, 600], [8, 300]]


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command(tmp_path, yard):
    yard.simple("zoo-lost", '''
        @hookimpl
        def zoo_architectures():
            return [Architecture(name="lost", factory="zoo_lost.nowhere:Net")]
    ''')
    ran = CliRunner().invoke(app, ["compare", "schnet", "lost", "--steps", "2", "--sizes", "20", "--test", "10",
                                   "--json", "--set", "config.cutoff=2.5", "--device", "cpu", "--out", str(tmp_path)])
    assert ran.exit_code == 2, (ran.output, ran.exception)
    found = json.loads(ran.stdout)
    done, failed = found["cells"]
    assert done["metrics"][0]["n"] == 10 and done["steps"] == 2 and done["cutoff"] == 2.5
    assert "zoo_lost.nowhere" in failed["error"]
    assert "[2/2] lost, 20 molecules, seed 0: failed" in ran.stderr
    again = CliRunner().invoke(app, ["compare", "schnet", "--steps", "2", "--sizes", "20", "--test", "10", "--device",
                                     "cpu", "--set", "config.cutoff=2.5", "--out", str(tmp_path)])
    assert again.exit_code == 0 and "(finished before)" in again.stderr
    assert "Test MAE with 20 training molecules" in again.stdout
    wrong = CliRunner().invoke(app, ["compare", "schnet", "--sizes", "ten", "--out", str(tmp_path)])
    assert wrong.exit_code != 0 and "whole numbers" in str(wrong.exception)


def test_models_with_weights_of_another_package_are_refused():
    with pytest.raises(TrainingError, match=r"'nequix-oam-1' has weights that another package.* its own. Fix: "):
        find_entries(["painn", "universal"])
