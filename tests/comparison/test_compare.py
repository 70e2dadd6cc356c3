"""`zoo compare`: the same molecules, batches and budget for everyone, and figures that were measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import torch

import zoo
from zoo.comparison import one_run
from zoo.comparison.result import Comparison, RunResult
from zoo.data.sample import open_sample
from zoo.data.splits import named_rows
from zoo.errors import TrainingError
from zoo.files.locks import locked
from zoo.training.loop import Trainer

HOOKS = '''
@hookimpl
def zoo_architectures():
    small = {"cutoff": 3.0, "channels": 6}
    return [
        Architecture(name="tiny", factory="zoo_tiny.model:Tiny", presets={"small": small, "wide": {"channels": 12}}),
        Architecture(name="far", factory="zoo_tiny.model:Tiny", presets={"small": {**small, "cutoff": 4.5}}),
        Architecture(name="crashing", factory="zoo_tiny.model:Crashing", presets={"small": small}),
        Architecture(name="infinite", factory="zoo_tiny.model:Infinite", presets={"small": small}),
    ]
'''
MODEL = '''
import torch
from torch import nn
from zoo.nn import sum_by


class Tiny(nn.Module):
    def __init__(self, *, cutoff: float = 4.0, channels: int = 8):
        super().__init__()
        self.cutoff, self.irreps_out = cutoff, f"{channels}x0e"
        self.own, self.filter = nn.Embedding(100, channels), nn.Linear(1, channels)

    def forward(self, graph):
        x = self.own(graph.z)
        w = self.filter((1 - graph.edge_len / self.cutoff)[:, None].square())
        return x + sum_by(w * x.index_select(0, graph.source), graph.target, graph.num_nodes)


class Crashing(Tiny):
    def forward(self, graph):
        if self.training and graph.num_graphs < 16:
            raise RuntimeError("the sky fell")
        return super().forward(graph)


class Infinite(Tiny):
    def forward(self, graph):
        return super().forward(graph) / torch.zeros(1, dtype=graph.pos.dtype)
'''
BUDGET: dict[str, Any] = {"steps": 6, "sizes": [24, 48], "device": "cpu"}


@pytest.fixture
def tiny(yard) -> Any:
    head = "from zoo.plugin import Architecture, hookimpl\n"
    yard.install("zoo-tiny", {"zoo_tiny/__init__.py": head + HOOKS, "zoo_tiny/model.py": MODEL},
                 entry={"tiny": "zoo_tiny"})
    return yard


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[int]]]:
    """Which molecules (by id) every training took in each of its steps."""
    seen: dict[str, list[list[int]]] = {}
    original = Trainer._step

    def step(self: Trainer, batch: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        seen.setdefault(self.folder.name.rsplit("-", 1)[0], []).append(self.store.ids[torch.from_numpy(batch)].tolist())
        return original(self, batch, *args, **kwargs)

    monkeypatch.setattr(Trainer, "_step", step)
    return seen


def figures(found: Comparison) -> dict[tuple[str, int, int], float]:
    return {(c.model, c.size, c.seed): c.metric("U0")["value"] for c in found.runs if c.error is None}


def test_everyone_gets_the_same_molecules_in_the_same_batches(tiny, tmp_path, steps):
    zoo.compare(["tiny", "far"], out=tmp_path, seeds=[0, 1], **BUDGET)
    assert len(steps) == 8 and all(len(batches) == 6 for batches in steps.values())
    for size in (24, 48):
        # Cut-offs, and so the numbers of edges, differ; batches do not.
        assert steps[f"tiny-n{size}-seed0"] == steps[f"far-n{size}-seed0"]
        assert steps[f"tiny-n{size}-seed0"] != steps[f"tiny-n{size}-seed1"]
        sets = [{i for batch in steps[f"tiny-n{size}-seed{seed}"] for i in batch} for seed in (0, 1)]
        assert sets[0] == sets[1] and len(sets[0]) == size
    small, large = ({i for batch in steps[f"tiny-n{n}-seed0"] for i in batch} for n in (24, 48))
    assert len(small) == 24 and len(large) == 48 and small < large
    sample = open_sample(cutoff=None)
    held_out = set(sample.ids[named_rows(sample, "test")].tolist())
    assert not large & held_out
    # Fluorine is in one molecule of thirty: without it in the training set its reference would be a guess.
    rows = torch.isin(sample.ids, torch.tensor(sorted(small))).nonzero()[:, 0]
    assert bool((sample.composition()[rows] > 0).any(0).all())


def test_figures_are_those_that_an_evaluation_of_the_weights_gives(tiny, tmp_path):
    found = zoo.compare(["tiny", "far"], out=tmp_path, **BUDGET)
    for run in found.runs:
        again = zoo.evaluate(tmp_path / "cells" / run.folder, split="test", device="cpu")
        assert again.n == 100
        assert run.metric("U0")["value"] == pytest.approx(again.value("U0"), rel=1e-4)
        assert run.parameters == zoo.load(tmp_path / "cells" / run.folder).num_parameters
        assert run.steps == 6 and run.epochs == pytest.approx(6 / np.ceil(run.size / 16), abs=1e-3)
        assert [entry["step"] for entry in run.history] == [6]
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert [c["metrics"][0]["value"] for c in written["cells"]] == [c.metrics[0]["value"] for c in found.runs]
    # The linear fit that is drawn beside them, once more by numpy.
    sample = open_sample(cutoff=None)
    counts = np.column_stack([sample.composition().numpy(), np.ones(len(sample))])
    rows = json_rows(tmp_path / "cells" / found.runs[-1].folder, sample)
    test = named_rows(sample, "test").numpy()
    label = sample.labels["U0"].numpy()
    fit = np.linalg.lstsq(counts[rows], label[rows], rcond=None)[0]
    assert found.baseline["U0"][48] == pytest.approx(1000 * np.abs(counts[test] @ fit - label[test]).mean(), rel=1e-3)


def json_rows(folder: Path, sample: Any) -> np.ndarray:
    """Training rows of the largest size, from the order that the package keeps."""
    from zoo.comparison.dataset import open_shared
    from zoo.comparison.setup import make_setup

    setup = make_setup(dataset=None, path=None, targets=["U0"], steps=1, seconds=None, same_recipe=False, overrides=())
    shared = open_shared(setup, path=None, sizes=[48], test=None)
    return np.flatnonzero(np.isin(sample.ids.numpy(), shared.store.ids[shared.train].numpy()))


def test_the_test_split_is_looked_at_once_a_training(tiny, tmp_path, monkeypatch):
    from zoo.evaluation import evaluation

    looked: list[int] = []
    original = evaluation.predict_rows

    def predict_rows(model: Any, store: Any, rows: Any, *args: Any, **kwargs: Any) -> Any:
        looked.append(len(rows))
        return original(model, store, rows, *args, **kwargs)

    validated: set[int] = set()
    before = Trainer.evaluate_rows
    monkeypatch.setattr(Trainer, "evaluate_rows", lambda self, rows: validated.update(self.store.ids[
        torch.from_numpy(rows)].tolist()) or before(self, rows))
    monkeypatch.setattr(evaluation, "predict_rows", predict_rows)
    zoo.compare(["tiny"], out=tmp_path, **BUDGET)
    assert looked == [100, 100]
    zoo.compare(["tiny"], out=tmp_path, **BUDGET)
    assert looked == [100, 100]
    sample = open_sample(cutoff=None)
    assert len(validated) == 40 and not validated & set(sample.ids[named_rows(sample, "test")].tolist())


def test_one_that_fails_is_a_row_and_loses_nobody(tiny, tmp_path, steps):
    reported: list[RunResult] = []
    found = zoo.compare(["crashing", "tiny", "infinite"], out=tmp_path,
                        progress=lambda run, *_: reported.append(run), **BUDGET)
    assert len(reported) == 6 and {c.model for c in found.failures} == {"crashing", "infinite"}
    assert set(figures(found)) == {("tiny", 24, 0), ("tiny", 48, 0), ("crashing", 48, 0)}
    assert found.value("crashing", "U0", 24) is None and found.value("crashing", "U0") is not None
    page = (tmp_path / "comparison.md").read_text()
    assert "crashing (24 molecules, seed 0): RuntimeError: the sky fell" in page
    assert "failed: " in next(line for line in page.splitlines() if line.startswith("| infinite"))
    assert "is not finite" in page
    # Those that failed are tried again, those that are finished are not.
    steps.clear()
    again = zoo.compare(["crashing", "tiny", "infinite"], out=tmp_path, **BUDGET)
    assert set(steps) == {"crashing-n24-seed0", "infinite-n24-seed0", "infinite-n48-seed0"}
    assert figures(again) == figures(found)


def test_what_is_finished_stays_until_something_that_decides_it_changes(tiny, tmp_path, steps):
    first = zoo.compare(["tiny"], out=tmp_path, **BUDGET)
    steps.clear()
    # With 200 molecules the whole store is used, and not a part of it: that decides nothing.
    more = zoo.compare(["tiny", "far"], out=tmp_path, **{**BUDGET, "sizes": [24, 48, 200]})
    assert set(steps) == {"far-n24-seed0", "far-n48-seed0", "tiny-n200-seed0", "far-n200-seed0"}
    assert [c.reused for c in more.runs_of("tiny", 24)] == [True] and [c.reused for c in more.runs_of("far", 24)] == [
        False]
    assert figures(first).items() <= figures(more).items()
    alone = zoo.compare(["tiny"], out=tmp_path / "alone", **{**BUDGET, "sizes": [24, 200]})
    assert figures(alone)["tiny", 24, 0] == figures(first)["tiny", 24, 0]
    for changed in ({"steps": 7}, {"overrides": ["lr=1e-2"]}, {"targets": ["U0", "gap"]}, {"test": 50}):
        steps.clear()
        other = zoo.compare(["tiny"], out=tmp_path, **{**BUDGET, "sizes": [24], **changed})
        assert set(steps) == {"tiny-n24-seed0"}, changed
        assert figures(other)["tiny", 24, 0] != figures(first)["tiny", 24, 0]
    steps.clear()
    (tiny.site / "zoo_tiny" / "model.py").write_text(MODEL + "\n# another model\n")
    zoo.compare(["tiny"], out=tmp_path, **BUDGET)
    assert set(steps) == {"tiny-n24-seed0", "tiny-n48-seed0"}


def test_an_interrupted_comparison_goes_on_as_if_nothing_had_been(tiny, tmp_path, monkeypatch):
    whole = zoo.compare(["tiny", "far"], out=tmp_path / "whole", **BUDGET)
    original = Trainer._step

    def step(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.folder.name.startswith("far-n24") and self.progress.step == 2:
            self.notice.received = True
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        part = zoo.compare(["tiny", "far"], out=tmp_path / "part", **BUDGET)
    assert part.interrupted and set(figures(part)) == {("tiny", 24, 0)}
    assert "Interrupted" in (tmp_path / "part" / "comparison.md").read_text()
    rest = zoo.compare(["tiny", "far"], out=tmp_path / "part", **BUDGET)
    assert not rest.interrupted and figures(rest) == figures(whole)
    log = next((tmp_path / "part" / "cells").glob("far-n24-*")) / "metrics.jsonl"
    starts = [json.loads(line)["step"] for line in log.read_text().splitlines() if '"event": "start"' in line]
    assert starts == [0, 3]


def test_seconds_end_a_training(tiny, tmp_path):
    found = zoo.compare(["tiny"], out=tmp_path, seconds=1.0, sizes=[24], device="cpu")
    assert found.runs[0].steps > 6 and 0.5 < found.runs[0].seconds < 3.0
    assert "1 s" in (tmp_path / "comparison.md").read_text()


def test_nothing_global_is_drawn_from(tiny, tmp_path):
    torch.manual_seed(3)
    zoo.compare(["tiny"], out=tmp_path, steps=1, sizes=[8], test=1, device="cpu")
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


def test_a_folder_has_one_comparison_at_a_time(tiny, tmp_path):
    with locked(tmp_path, seconds=0, error=TrainingError), pytest.raises(TrainingError, match="another process"):
        zoo.compare(["tiny"], out=tmp_path, **BUDGET)


def test_structures_of_ones_own(tiny, tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(60):
        pos = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]) + 0.05 * rng.normal(size=(3, 3))
        atoms = ase.Atoms("OHH", pos)
        atoms.info["E"] = float(np.linalg.norm(pos[1] - pos[0]) + np.linalg.norm(pos[2] - pos[0]))
        frames.append(atoms)
    ase.io.write(tmp_path / "water.extxyz", frames)
    found = zoo.compare(["tiny"], out=tmp_path / "out", data=tmp_path / "water.extxyz", targets=["energy"], sizes=[40],
                        steps=4, device="cpu", overrides=["data.keys.energy=E", "data.units.energy=eV"])
    assert found.counts == {"val": 6, "test": 6} and found.failures == ()
    assert found.runs[0].metric("energy")["n"] == 6
    # The weights say which structures they have seen.
    with pytest.raises(zoo.ZooError, match="trained on"):
        zoo.evaluate(tmp_path / "out" / "cells" / found.runs[0].folder, data=tmp_path / "water.extxyz", split="all")


@pytest.mark.parametrize(("changes", "words"), [
    ({"sizes": [0]}, "from 1"), ({"sizes": [361]}, "360 molecules"), ({"steps": 0}, "trains nothing"),
    ({"seeds": []}, "no seed"), ({"overrides": ["seed=3"]}, "decides seed"),
    ({"overrides": ["training.budget.hours=2"]}, "decides budget"), ({"targets": ["U9"]}, "no label 'U9'"),
    ({"overrides": ["lrr=3"]}, "did you mean 'lr'"), ({"targets": []}, "no target"),
    ({"dataset": "qm99"}, "did you mean 'qm9'"), ({"data": "nowhere.xyz"}, "nowhere.xyz does not exist"),
])
def test_what_makes_no_sense_is_told_before_any_work(tiny, tmp_path, monkeypatch, changes, words):
    monkeypatch.setattr(one_run, "run", lambda *args, **kwargs: pytest.fail("trained"))
    with pytest.raises(zoo.ZooError, match=words):
        zoo.compare(["tiny"], out=tmp_path, **{**BUDGET, **changes})
