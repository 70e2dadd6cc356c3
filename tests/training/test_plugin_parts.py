"""Losses, optimisers, schedules, transforms, metrics and stopping rules of a plugin, named in a recipe."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model, run_trainer

from zoo.data import Store
from zoo.errors import PluginError, TrainingError
from zoo.registry import host
from zoo.training import parts
from zoo.training.criterion import Criterion
from zoo.training.recipe import Loss, Part, ValidationMetric, read_recipe
from zoo.training.transforms import Transforms

SOURCE = Path(__file__).resolve().parents[1] / "thirdparty" / "zoo-trainers" / "src"
ALL: dict[str, Any] = {
    "losses": {"energy": {"kind": "charbonnier", "options": {"eps": 0.2}}, "forces": {"kind": "l2"}},
    "optimizer": "sgd", "optimizer_options": {"momentum": 0.8}, "weight_decay": 0.01,
    "schedule": {"kind": "trapezoid", "options": {"until": 0.25}},
    "transforms": [{"kind": "noise", "options": {"sigma": 0.01}}],
    "metrics": {"close": {"kind": "within", "of": "energy", "options": {"limit": 0.3}}},
}


@pytest.fixture(autouse=True)
def trainers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(SOURCE))
    points = [*entry_points(group="zoo"), EntryPoint(name="trainers", value="zoo_trainers", group="zoo")]
    made = host.Host(points, {})
    monkeypatch.setattr(host, "current", lambda: made)
    yield


def lines(folder: Path, event: str) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in read if line["event"] == event]


def test_a_run_of_strangers_parts_resumes_bitwise(store: Store, tmp_path: Path) -> None:
    rule = {"stopping": {"kind": "good-enough", "options": {"metric": "close", "below": -1.0}}}
    whole = run_trainer(store, tmp_path / "whole", steps=14, **ALL, **rule)
    run_trainer(store, tmp_path / "parts", steps=14, stop_at=6, **ALL, **rule)
    resumed = run_trainer(store, tmp_path / "parts", steps=14, resume=True, seed_of_model=1, **ALL, **rule)
    a, b = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.progress == resumed.progress
    assert [entry["step"] for entry in whole.progress.history] == [4, 8, 12, 14]
    without = run_trainer(store, tmp_path / "still", steps=14, **(ALL | {"transforms": []}))
    assert not torch.equal(a["backbone.embed.weight"], without.model.state_dict()["backbone.embed.weight"])


def test_optimizer_schedule_and_metric_are_used(store: Store, tmp_path: Path) -> None:
    trainer = run_trainer(store, tmp_path, steps=16, eval_every=8, **ALL)
    assert type(trainer.optimizer) is torch.optim.SGD
    assert {group["momentum"] for group in trainer.optimizer.param_groups} == {0.8}
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.01, 0.0}
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-2 * (1 - 15 / 16) / 0.75)  # of the last step
    measured = lines(tmp_path, "evaluate")[-1]["close"]
    trainer.model.eval()
    with trainer.average.applied(), torch.no_grad():
        graph = store.graph(torch.arange(48, 60))
        apart = trainer.model(graph)["energy"] - store.labels["energy"][48:60]
    assert measured == pytest.approx(float((apart.abs() < 0.3).double().mean()), abs=1e-12)
    assert measured > 0.0


def test_a_rule_ends_the_run(store: Store, tmp_path: Path) -> None:
    rule = {"kind": "good-enough", "options": {"metric": "energy.mae", "below": 1e9}}
    trainer = run_trainer(store, tmp_path, steps=40, stopping=rule)
    assert trainer.outcome.reason == "early stop" and trainer.progress.step == 4


def test_a_metric_can_be_watched_by_early_stopping(store: Store, tmp_path: Path) -> None:
    trainer = run_trainer(store, tmp_path, steps=40, lr=1e-9, metrics=ALL["metrics"],
                          early_stop={"metric": "close", "patience": 2})
    assert trainer.progress.step == 12


def test_the_loss_is_the_plugins_formula(store: Store) -> None:
    model, rows = make_model(), torch.arange(6)
    criterion = Criterion(model, store, {"gap": Loss(kind="charbonnier", options={"eps": 0.2}, weight=3.0)},
                          dtype=torch.float32, metrics={"close": ValidationMetric(kind="within", of="gap")})
    outputs = model(store.graph(rows), standardised=True)
    residual = outputs["gap"] - criterion.labels[rows, 0]
    expected = 3 * ((residual.square() + 0.04).sqrt() - 0.2).mean()
    assert torch.allclose(criterion.loss(outputs, rows, criterion.counts(rows)), expected)


def test_a_metric_leaves_out_labels_that_are_missing(store: Store) -> None:
    model, rows = make_model(), torch.arange(6)
    gap = store.labels["gap"].clone()
    gap[:3] = torch.nan
    lacking = replace(store, labels={**store.labels, "gap": gap})
    criterion = Criterion(model, lacking, {"gap": Loss()}, dtype=torch.float32, metrics={
        "all": ValidationMetric(kind="within", of="gap", options={"limit": 1e9}),
        "none": ValidationMetric(kind="within", of="gap", options={"limit": 0.0})})
    with torch.no_grad():
        found = criterion.metrics(criterion.errors(model(lacking.graph(rows), standardised=True), rows))
    assert found["all"] == 1.0 and found["none"] == 0.0


def test_noise_follows_from_the_place_and_edges_are_found_again(store: Store) -> None:
    transforms = Transforms([Part(kind="noise", options={"sigma": 0.5})], seed=0)
    graph = store.graph(torch.arange(8))
    moved, again, other = transforms(graph, 3, 0), transforms(graph, 3, 0), transforms(graph, 4, 0)
    assert torch.equal(moved.pos, again.pos) and not torch.equal(moved.pos, other.pos)
    lengths = (moved.pos[moved.source] - moved.pos[moved.target]).norm(dim=1)
    assert moved.num_edges != graph.num_edges and float(lengths.max()) <= 4.0
    assert moved.cutoff == graph.cutoff
    assert Transforms([], seed=0)(graph, 3) is graph


@pytest.mark.parametrize(("recipe", "message"), [
    ({"losses": {"energy": {"kind": "charbonier"}}},
     r"losses\.energy\.kind: no loss is called 'charbonier'; did you mean 'charbonnier'\? Fix: name one of l1, l2, "
     r"huber, charbonnier, or 'package\.module:function'"),
    ({"optimizer": "charbonnier"}, r"recipe\.optimizer: no optimizer is called 'charbonnier'. Fix"),
    ({"schedule": {"kind": "cosine", "options": {"until": 1}}}, "'cosine' takes no options"),
    ({"optimizer_options": {"momentum": 0.9}}, "'adamw' takes no options"),
    ({"transforms": [{"kind": "shutil:rmtree"}]}, "transforms.*'shutil:rmtree' is in no installed plugin"),
    ({"transforms": [{"kind": "zoo_trainers_evil:f"}]}, "is in no installed plugin"),
    ({"metrics": {"close": {"kind": "within", "of": "gapp"}}}, r"'gapp' is not trained on; did you mean 'gap'\?"),
    ({"metrics": {"gap.mae": {"kind": "within", "of": "gap"}}}, "the zoo measures 'gap.mae' itself"),
    ({"stopping": {"kind": "good-enough", "option": {}}}, "unknown key 'option'"),
])
def test_what_nobody_offers_is_refused_with_its_place(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_recipe(recipe, targets=["energy", "gap"])


def test_the_module_of_a_plugin_can_be_named_itself(store: Store, tmp_path: Path) -> None:
    recipe = read_recipe({"optimizer": "zoo_trainers.parts:sgd", "losses": {"gap": {"kind": "charbonnier"}}},
                         targets=["gap"])
    assert set(parts.versions(recipe)) == {"optimizer zoo_trainers.parts:sgd", "loss charbonnier"}
    trainer = run_trainer(store, tmp_path, steps=2, optimizer="zoo_trainers.parts:sgd")
    assert type(trainer.optimizer) is torch.optim.SGD


@pytest.mark.parametrize(("recipe", "error", "message"), [
    ({"optimizer": "sgd", "optimizer_options": {"momentun": 1}}, TrainingError,
     "no option 'momentun'; did you mean 'momentum'"),
    ({"optimizer": "zoo_trainers.parts:charbonnier"}, TrainingError, "cannot be called as a part of the kind opt"),
    ({"losses": {"gap": {"kind": "zoo_trainers.parts:nothing"}}}, PluginError, "cannot import"),
    ({"losses": {"gap": {"kind": "zoo_trainers.wrong:mean"}}}, TrainingError, "Fix: return one number for each"),
    ({"transforms": [{"kind": "zoo_trainers.wrong:fewer"}]}, TrainingError, "does not give the same atoms back"),
])
def test_a_part_that_breaks_its_contract_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                  recipe: dict[str, Any], error: type, message: str) -> None:
    import zoo_trainers

    wrong = types.ModuleType("zoo_trainers.wrong")
    wrong.mean = lambda residual: residual.mean()
    wrong.fewer = lambda graph, generator: next(iter(graph.structures()))
    monkeypatch.setitem(sys.modules, "zoo_trainers.wrong", wrong)
    monkeypatch.setattr(zoo_trainers, "wrong", wrong, raising=False)
    with pytest.raises(error, match=message):
        run_trainer(store, tmp_path, steps=2, **recipe)
