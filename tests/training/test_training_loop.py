"""The loop: exact resume, raw and averaged weights apart, failures that name the batch."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import make_model, run_trainer
from torch import Tensor

from zoo.data import Store
from zoo.errors import TrainingError
from zoo.training.checkpoint import Checkpoints
from zoo.training.ema import Average


def states_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_last(folder: Path) -> tuple[Any, Any, Any]:
    kept = Checkpoints(folder / "checkpoints")
    return kept.read(kept.steps()[-1])


@pytest.mark.parametrize("steps", [5, 6, 9, 12])
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"losses": {"forces": {"weight": 5.0}}, "accumulate": 2},
        {"schedule": {"kind": "plateau", "patience": 1, "warmup": 3}, "spike": {"factor": 1.2}},
        {"optimizer": "soap"},
    ],
    ids=["adamw", "forces", "plateau", "soap"],
)
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(store: Store, tmp_path: Path, recipe: dict, steps: int) -> None:
    """Stopped within an epoch, at its end, and at an evaluation; epochs of 6 steps, evaluations every 4."""
    whole = run_trainer(store, tmp_path / "whole", steps=16, **recipe)
    run_trainer(store, tmp_path / "parts", steps=16, stop_at=steps, **recipe)
    parts = run_trainer(store, tmp_path / "parts", steps=16, resume=True, seed_of_model=1, **recipe)
    assert parts.progress == whole.progress
    assert states_equal(parts.model.state_dict(), whole.model.state_dict())
    a, b = read_last(tmp_path / "whole"), read_last(tmp_path / "parts")
    assert states_equal(a[0], b[0]) and states_equal(a[1] or {}, b[1] or {})
    clocks = ("time", "processor", "seconds", "rate", "remaining")
    logged = [[{k: v for k, v in json.loads(line).items() if k not in clocks}
               for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("whole", "parts")]
    evaluations = [[line for line in lines if line["event"] == "evaluate"] for lines in logged]
    assert evaluations[0] == evaluations[1]


def test_resuming_without_the_averaged_weights_would_differ(store: Store, tmp_path: Path) -> None:
    """Guards the test above: raw and averaged weights are different things, and both matter."""
    trainer = run_trainer(store, tmp_path, steps=8)
    raw, average, state = read_last(tmp_path)
    assert average is not None
    assert not any(torch.equal(raw[name], average[name]) for name in average if name.startswith("backbone"))
    assert states_equal(raw, {k: v.cpu() for k, v in trainer.model.state_dict().items()})
    assert state["average_updates"] == 8


def test_evaluation_leaves_the_raw_weights_as_they_were(store: Store, tmp_path: Path) -> None:
    seldom = run_trainer(store, tmp_path / "a", steps=8, eval_every=8)
    often = run_trainer(store, tmp_path / "b", steps=8, eval_every=1)
    assert states_equal(seldom.model.state_dict(), often.model.state_dict())


def test_the_average_is_applied_inside_the_block_only() -> None:
    model = make_model()
    average = Average(model, 0.9)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    average.update()  # the decay warms up: 1/10 of the old value is kept at the first update
    with pytest.raises(KeyError), average.applied():
        for name, p in model.named_parameters():
            torch.testing.assert_close(p, before[name] + 0.9)
        raise KeyError
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, before[name] + 1.0)


def test_the_average_arrives_where_the_weights_stay() -> None:
    """In float32 the last steps are rounded away: it would never move at all."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    average = Average(model, 0.9999)
    average.updates = 1_000_000  # past the warm-up
    torch.nn.init.constant_(model.weight, 1.0001)
    for _ in range(100_000):
        average.update()
    with average.applied():
        assert abs(model.weight.item() - 1.0001) < 1e-6


def test_the_clock_counts_the_optimiser_too(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share is a fifth of a step of SOAP: hours of a budget and of a card must not leave it out."""
    def slow(self: torch.optim.AdamW, closure: object = None) -> None:
        time.sleep(0.1)

    monkeypatch.setattr(torch.optim.AdamW, "step", slow)
    began = time.monotonic()
    trainer = run_trainer(store, tmp_path, steps=6)
    assert 0.5 < trainer.outcome.seconds <= time.monotonic() - began


@pytest.mark.parametrize("where", ["label", "position"])
def test_a_loss_that_is_not_finite_names_its_batch(store: Store, tmp_path: Path, where: str) -> None:
    bad = 17
    if where == "label":
        labels = {**store.labels, "gap": store.labels["gap"].clone()}
        labels["gap"][bad] = math.inf
        broken = replace(store, labels=labels)
    else:
        pos = store.pos.clone()
        pos[store.ptr[bad]] = math.nan
        broken = replace(store, pos=pos)
    with pytest.raises(TrainingError, match="not finite at step") as caught:
        run_trainer(broken, tmp_path, steps=40, losses={"gap": {"kind": "l2"}}, fit_on=store)
    ids = str(caught.value).split("with ids ")[1].split(". ")[0]
    assert str(int(store.ids[bad])) in ids.split(", ")
    failed = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-2])
    assert failed["event"] == "failed" and int(store.ids[bad]) in failed["ids"]
    for step in Checkpoints(tmp_path / "checkpoints").steps():
        raw, average, _ = Checkpoints(tmp_path / "checkpoints").read(step)
        assert all(bool(v.isfinite().all()) for v in [*raw.values(), *average.values()])


def test_a_missing_label_is_left_out_and_counts_nothing(store: Store, tmp_path: Path) -> None:
    """NaN marks a label that is not there: the run equals one where it holds something else, but not weight 0."""
    def with_gap(value: float) -> Store:
        labels = {**store.labels, "gap": store.labels["gap"].clone()}
        labels["gap"][:40] = value
        return replace(store, labels=labels)

    partly = run_trainer(with_gap(math.nan), tmp_path / "a", steps=6)
    assert all(bool(v.isfinite().all()) for v in partly.model.state_dict().values())
    other = run_trainer(store, tmp_path / "b", steps=6)
    assert not states_equal(partly.model.state_dict(), other.model.state_dict())


def test_a_batch_without_any_label_teaches_nothing(store: Store, tmp_path: Path) -> None:
    labels = {**store.labels, "gap": store.labels["gap"].clone()}
    labels["gap"][:40] = math.nan
    trainer = run_trainer(replace(store, labels=labels), tmp_path, steps=24, batch={"molecules": 2},
                          losses={"gap": {}, "energy": {"weight": 0}})
    assert all(bool(v.isfinite().all()) for v in trainer.model.state_dict().values())


def test_a_spike_is_left_out_and_too_many_end_the_run(store: Store, tmp_path: Path) -> None:
    labels = {**store.labels, "energy": store.labels["energy"].clone()}
    labels["energy"][5] += 1e6
    spiky = replace(store, labels=labels)
    trainer = run_trainer(spiky, tmp_path / "a", steps=12, spike={"factor": 5.0}, fit_on=store, train_rows=range(48))
    assert trainer.progress.skipped == 2  # once an epoch
    events = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    assert [event["loss"] > 5 * event["typical"] for event in events if event["event"] == "skip"] == [True, True]
    assert trainer.model.readouts["energy"].net is not None
    labels["energy"] = store.labels["energy"] + 1e6 * torch.arange(60).remainder(2)
    with pytest.raises(TrainingError, match="diverged"):
        run_trainer(replace(store, labels=labels), tmp_path / "b", steps=40, fit_on=store, seed_typical=1e-3,
                    spike={"factor": 5.0, "limit": 3})


def test_early_stopping_waits_for_its_metric(store: Store, tmp_path: Path) -> None:
    trainer = run_trainer(store, tmp_path, steps=400, lr=1e-12, eval_every=2,
                          early_stop={"metric": "gap.mae", "patience": 3, "min_delta": 1e-3})
    assert trainer.outcome.reason == "early stop" and trainer.progress.step == 8
    assert trainer.progress.best_step == 2


def test_the_best_checkpoint_stays_and_is_what_is_shipped(store: Store, tmp_path: Path) -> None:
    trainer = run_trainer(store, tmp_path, steps=40, eval_every=4, keep=1, lr=0.3, ema=None,
                          schedule={"kind": "constant"}, clip_norm=None)
    kept = Checkpoints(tmp_path / "checkpoints").steps()
    assert trainer.progress.best_step in kept and 40 in kept and len(kept) <= 2
    trainer.load_best()
    metrics = trainer.evaluate_rows(trainer.val_rows)
    assert metrics["loss"] == pytest.approx(trainer.progress.best, rel=1e-9)


def test_a_validation_batch_that_does_not_fit_into_memory_is_halved(
        store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = run_trainer(store, tmp_path, steps=1, precision="float64")
    whole = trainer.evaluate_rows(trainer.val_rows)
    gather, sizes = trainer.prefetcher._gather, []

    def small_memory(rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 4:
            raise torch.OutOfMemoryError
        return gather(rows)

    monkeypatch.setattr(trainer.prefetcher, "_gather", small_memory)
    assert trainer.evaluate_rows(trainer.val_rows) == pytest.approx(whole, rel=1e-12)
    assert max(sizes) > 4 and min(sizes) < 4


def test_another_model_or_other_data_are_no_continuation(store: Store, tmp_path: Path) -> None:
    run_trainer(store, tmp_path, steps=4)
    with pytest.raises(TrainingError, match="made with another"):
        run_trainer(store, tmp_path, steps=8, resume=True, identity={"config": "other"})


def test_accumulating_takes_the_same_steps(store: Store, tmp_path: Path) -> None:
    once = run_trainer(store, tmp_path / "a", steps=6, precision="float64", losses={"forces": {}})
    parts = run_trainer(store, tmp_path / "b", steps=6, precision="float64", losses={"forces": {}}, accumulate=3)
    for a, b in zip(once.model.parameters(), parts.model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_frozen_parameters_do_not_move_and_scaled_ones_move_less(store: Store, tmp_path: Path) -> None:
    before = make_model().state_dict()
    trainer = run_trainer(store, tmp_path, steps=3, freeze=["backbone.*"], lr_scale={"readouts.gap.*": 0.1}, ema=None,
                          schedule={"kind": "constant"})
    moved = {n: float((v - before[n]).abs().max()) for n, v in trainer.model.state_dict().items()}
    assert all(change == 0 for name, change in moved.items() if name.startswith("backbone"))
    weights = {n: c for n, c in moved.items() if n.endswith("weight") and n.startswith("readouts")}
    gap, energy = (max(c for n, c in weights.items() if f".{target}." in n) for target in ("gap", "energy"))
    assert gap < 0.2 * energy
    with pytest.raises(TrainingError, match=r"no parameter is called 'backbon\.\*'"):
        run_trainer(store, tmp_path / "x", steps=1, freeze=["backbon.*"])
    with pytest.raises(TrainingError, match="covers every parameter"):
        run_trainer(store, tmp_path / "y", steps=1, freeze=["*"])
