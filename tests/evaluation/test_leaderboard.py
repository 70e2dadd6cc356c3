"""The leaderboard says what the cards say, keeps apart what was measured on different structures, and stays light."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from zoo.cards.card import Card
from zoo.evaluation.leaderboard import boards, curve_of
from zoo.evaluation.leaderboard_tables import markdown, tables
from zoo.training.curve import write_curve

SHA, OTHER = "a" * 64, "b" * 64


def card(name: str, *, split: str = SHA, dataset: str | None = "qm9", u0: float | None = 12.5, **sections: Any) -> Card:
    """A card of a measured model."""
    metric = {"split": "test", "metric": "mae", "n": 100, "by": "zoo evaluate", "date": "2026-11-23"}
    metrics = [{**metric, "target": "U0", "value": u0, "unit": "meV"},
               {**metric, "target": "mu", "value": 0.03, "unit": "D"}]
    data = {"split": {"sha256": split, "train": 1000}} | ({"dataset": dataset} if dataset else {})
    return Card.from_dict({
        "schema": 1, "name": name, "architecture": name.split("-")[0],
        "targets": {"mu": {"readout": "dipole", "unit": "D"}, "U0": {"readout": "energy", "unit": "eV"}},
        "data": data, "metrics": metrics if u0 is not None else [],
        "weights": {"file": "model.safetensors", "sha256": SHA, "bytes": 10, "parameters": 1234}, **sections})


def of(*cards: Card, **options: Any) -> list[Any]:
    return boards([(c, "built-in") for c in cards], **options)


def test_models_stand_beside_each_other_and_beside_the_papers() -> None:
    (board,) = of(card("painn-qm9"), card("mine-qm9", u0=7.25), card("none-qm9", u0=None))
    text = markdown(board)
    (line,) = [line for line in text.splitlines() if line.startswith("| U0 |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["U0", "meV", "12.5", "7.25", "14", "6.3", "5.9"]
    assert "none-qm9" not in text, "a model that nobody measured has no place"
    assert "one model for every target" in text and "J. Chem. Phys. 148" in text


def test_other_test_structures_are_another_board() -> None:
    found = of(card("painn-qm9"), card("schnet-qm9", split=OTHER))
    assert [[m.name for m in board.models] for board in found] == [["painn-qm9"], ["schnet-qm9"]]
    assert len(of(card("painn-own", dataset=None), card("painn-qm9"), dataset="own")) == 1


def test_a_force_field_has_a_line_with_energies_and_forces() -> None:
    metric = {"split": "test", "n": 650, "by": "zoo evaluate", "date": "2026-11-23"}
    metrics = [{**metric, "target": "energy", "metric": "rmse", "value": 1.5, "unit": "meV"},
               {**metric, "target": "energy", "metric": "mae", "value": 1.1, "unit": "meV"},
               {**metric, "target": "forces", "metric": "rmse", "value": 9.75, "unit": "meV/Å", "n": 9750},
               {**metric, "target": "forces", "metric": "mae", "value": 6.5, "unit": "meV/Å", "n": 9750}]
    made = card("painn-acac", dataset=None, targets={"energy": {"readout": "energy", "unit": "eV"}},
                derivatives=["forces"], metrics=metrics)
    board = of(made)[0]
    assert board.is_force_field and board.label == "acac"
    errors = tables(board)[0]
    assert errors.rows[0] == ["painn-acac", "test, 650 structures", "1.1", "1.5", "6.5", "9.75"]
    assert ["MACE¹", "its own", "–", "0.9", "–", "5.1"] in errors.rows


def uncertainty(weights: str) -> dict[str, Any]:
    held = {"split": "test", "n": 100, "coverage": {"U0": 0.91}, "spearman": {"U0": 0.42}, "width": {"U0": 25.0},
            "outside": 0.01, "date": "2026-11-23"}
    return {"file": "uncertainty.safetensors", "sha256": OTHER, "bytes": 10, "weights": weights, "level": 0.9,
            "train": 1000, "val": 100, "date": "2026-11-23", "measured": [held]}


def test_intervals_of_other_weights_are_not_shown() -> None:
    (board,) = of(card("painn-qm9", uncertainty=uncertainty(SHA)), card("schnet-qm9", uncertainty=uncertainty(OTHER)))
    (sheet,) = [s for s in tables(board) if "Intervals" in s.title]
    assert sheet.header == ["target", "unit", "painn-qm9"]
    assert sheet.rows == [["U0", "meV", "91.0% · 0.42 · 25"]]


@pytest.mark.parametrize(("weights", "words"), [(SHA, "intervals for 90% of all errors"), (OTHER, "other weights")])
def test_show_says_how_intervals_held(weights: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from zoo.cli import main

    card("painn-qm9", uncertainty=uncertainty(weights)).save(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["show", str(tmp_path / "card.yaml")])
    assert not stop.value.code and words in capsys.readouterr().out


def test_parts_of_the_split_and_what_training_cost() -> None:
    breakdown = [{"split": "test", "by": "heavy_atoms", "groups": ["8", "9"], "n": [40, 60],
                  "mae": {"U0": [10.0, 14.0], "mu": [None, 0.03]}}]
    (board,) = of(card("painn-qm9", breakdown=breakdown,
                       training={"hours": 0.5, "epochs_done": 9.0, "device": "CPU"}))
    by_title = {sheet.title: sheet for sheet in tables(board)}
    assert by_title["U0: MAE by number of heavy atoms, meV"].rows == [["8", "40", "10"], ["9", "60", "14"]]
    # 9 epochs of 1000 molecules in 1800 s.
    assert by_title["Cost of training"].rows == [["painn-qm9", "CPU", "1,234", "0.5", "9", "5"]]


def test_a_learning_curve_is_thinned_and_read_back(tmp_path: Path) -> None:
    lines = [{"event": "log", "step": 1, "seconds": 1}]
    lines += [{"event": "evaluate", "step": 10 * k, "seconds": 36.0 * k, "loss": 1 / k, "U0.mae": 0.2 / k}
              for k in range(1, 201)]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"event": "evaluate", "st'
    (tmp_path / "metrics.jsonl").write_text(text)
    made = card("painn-qm9")
    made.save(tmp_path)
    write_curve(tmp_path)
    curve = curve_of(Card.load(tmp_path))
    assert len(curve) == 40 and (curve[0]["step"], curve[-1]["step"]) == (10, 2000)
    assert curve[-1]["hours"] == pytest.approx(2) and curve[-1]["U0.mae"] == pytest.approx(0.001)
    (board,) = of(Card.load(tmp_path))
    (sheet,) = [s for s in tables(board) if s.title.startswith("Learning")]
    assert sheet.rows[-1] == ["2", "1"], "200 meV / 200 after two hours"
    later = card("painn-qm9", training={"hours": 2.0, "earlier_hours": 3.0})
    later.save(tmp_path)
    (board,) = of(Card.load(tmp_path))
    assert curve_of(Card.load(tmp_path))[-1]["hours"] == pytest.approx(5), "after those of the runs before"
    assert {sheet.title: sheet for sheet in tables(board)}["Cost of training"].rows[0][3] == "5"
    (tmp_path / "curve.csv").write_text("nonsense")
    assert curve_of(made) == []


def test_the_command_needs_no_torch_and_has_third_parties(run_zoo, tmp_path: Path) -> None:
    card("mine-qm9", u0=3.125).save(tmp_path / "mine-qm9")
    done = run_zoo("leaderboard", "--csv", ZOO_PATH=str(tmp_path))
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    (own,) = [r for r in rows if r["model"] == "mine-qm9" and r["target"] == "U0"]
    assert (own["value"], own["unit"], own["origin"]) == ("3.125", "meV", "ZOO_PATH")
    assert {"painn-qm9", "SchNet"} <= {r["model"] for r in rows}
    loaded = run_zoo("leaderboard", "--json", "--dataset", "qm9", PYTHONPROFILEIMPORTTIME="1", ZOO_PATH=str(tmp_path))
    assert {board["data"] for board in json.loads(loaded.stdout)} == {"qm9"}
    assert "zoo.evaluation.leaderboard" in loaded.stderr and "| torch\n" not in loaded.stderr.replace("  ", "")
    unknown = run_zoo("leaderboard", "--dataset", "qm99")
    assert unknown.returncode == 2 and "did you mean 'qm9'" in unknown.stderr
