"""Parts of the loop by themselves: checkpoints on a full disk, gathering ahead, process settings, precision, events."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import make_model, run_trainer

from zoo.data import Store
from zoo.errors import TrainingError
from zoo.graph.graph import Graph
from zoo.training.checkpoint import Checkpoints, DiskFullError
from zoo.training.log import Log
from zoo.training.prefetcher import Prefetcher

# -- checkpoints ---------------------------------------------------------------------------------------------------


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    kept, tensors = Checkpoints(tmp_path, keep=2), make_model().state_dict()
    for step, best in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4)):
        kept.write(step, tensors, None, {}, best=best)
        assert best in kept.steps()
    assert kept.steps() == [4, 5, 6]


def test_a_full_disk_is_reported_before_anything_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, tensors = Checkpoints(tmp_path, keep=1), make_model().state_dict()
    kept.write(1, tensors, tensors, {}, best=None)

    def no_room(*args: Any, **kwargs: Any) -> None:
        Path(args[1]).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", no_room)
    with pytest.raises(DiskFullError, match=r"untouched. Fix: free some space"):
        kept.write(2, tensors, tensors, {}, best=None)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]
    kept.read(1)


def test_a_run_outlives_a_full_disk(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    capsys: pytest.CaptureFixture) -> None:
    real, calls = torch.save, []

    def sometimes(*args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) in (2, 3):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args, **kwargs)

    monkeypatch.setattr(torch, "save", sometimes)
    trainer = run_trainer(store, tmp_path, steps=20, eval_every=4)
    assert trainer.outcome.reason == "budget"
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == 20
    events = [json.loads(line)["event"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert events.count("disk full") == 2 and events.count("checkpoint") == 4


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    folder = kept.write(3, make_model().state_dict(), None, {}, best=None)
    (folder / "state.pt").write_bytes((folder / "state.pt").read_bytes()[:-40])
    with pytest.raises(TrainingError, match=r"cannot be read.*Fix: remove it"):
        kept.read(3)


def test_the_state_is_no_pickle_of_anything_but_data(store: Store, tmp_path: Path) -> None:
    run_trainer(store, tmp_path, steps=4)
    state = torch.load(tmp_path / "checkpoints" / "step-000000004" / "state.pt", weights_only=True)
    assert {"optimizer", "progress", "clock", "plateau", "machine", "identity", "recipe"} <= state.keys()


# -- graphs --------------------------------------------------------------------------------------------------------


def test_graphs_made_ahead_are_the_same(store: Store) -> None:
    direct = Prefetcher(store, torch.float32, torch.device("cpu"))
    ahead = Prefetcher(store, torch.float32, torch.device("cpu"), threaded=True)
    batches = [np.arange(k, k + 5) for k in range(0, 40, 5)]
    for number, rows in enumerate(batches):
        if number % 3:
            ahead.ahead(rows)
        a, b = direct(rows), ahead(rows)
        assert torch.equal(a.pos, b.pos) and torch.equal(a.edge_index, b.edge_index) and torch.equal(a.ptr, b.ptr)
    ahead.ahead(batches[0])
    ahead.close()


def test_a_store_larger_than_memory_is_read_from_its_file_by_a_thread(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not asked for is not read: the columns are the file, mapped, and the thread gathers rows of it."""
    monkeypatch.setattr("zoo.data.files.ALWAYS_VERIFIED", 0)
    folder = store.save(tmp_path / "store")
    mapped = Store.load(folder)
    assert not Prefetcher(mapped, torch.float32, torch.device("cpu")).works_ahead  # small: nothing to gain
    if sys.platform.startswith("linux"):
        assert str(folder) in Path("/proc/self/maps").read_text()
    monkeypatch.setattr("zoo.training.prefetcher._host_memory", lambda: 1000.0)
    prefetcher = Prefetcher(mapped, torch.float32, torch.device("cpu"))
    assert prefetcher.works_ahead
    threads = []
    gather = mapped.graph
    monkeypatch.setattr(type(mapped), "graph", lambda self, *a, **k: threads.append(threading.current_thread().name)
                        or gather(*a, **k))
    rows = np.arange(5)
    prefetcher.ahead(rows)
    assert torch.equal(prefetcher(rows).pos, store.graph(torch.arange(5)).pos)
    assert threads[0].startswith("zoo-prefetch")
    prefetcher.close()


def test_every_part_of_a_step_but_the_first_of_all_is_made_ahead(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[bytes] = []
    asked: list[bytes] = []

    class Watched(Prefetcher):
        def ahead(self, rows: np.ndarray) -> None:
            announced.append(rows.tobytes())

        def __call__(self, rows: np.ndarray) -> Graph:
            asked.append(rows.tobytes())
            return super().__call__(rows)

    monkeypatch.setattr("zoo.training.loop.Prefetcher", Watched)
    run_trainer(store, tmp_path, steps=3, accumulate=2, eval_every=100)
    assert asked[1:6] == announced[:5] and len(set(asked[:6])) == 6


# -- log -----------------------------------------------------------------------------------------------------------


def test_lines_after_the_checkpoint_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"event": "start"}\n{"event": "log", "step": 5}\n{"event": "log", "step": 7}\n{"event": "lo')
    log = Log(tmp_path, active=True, resumed_step=5, quiet=True)
    log.record("log", step=6, loss=1.0)
    log.close()
    assert [json.loads(line).get("step") for line in path.read_text().splitlines()] == [None, 5, 6]


def test_events_reach_plugins(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.training import log

    heard: list[tuple[str, dict]] = []
    monkeypatch.setattr(log, "emit", lambda event, state: heard.append((event, dict(state))))
    run_trainer(store, tmp_path, steps=8, eval_every=4)
    events = [event for event, _ in heard]
    assert events[0] == "start" and events[-1] == "end" and events.count("evaluate") == 2
    assert all("energy.mae" in state for event, state in heard if event == "evaluate")
    json.dumps(heard)  # plain numbers and text only


# -- precision -----------------------------------------------------------------------------------------------------


def test_bf16_trains_and_keeps_float32_weights(store: Store, tmp_path: Path) -> None:
    plain = run_trainer(store, tmp_path / "a", steps=12)
    coarse = run_trainer(store, tmp_path / "b", steps=12, autocast="bf16")
    assert {p.dtype for p in coarse.model.parameters()} == {torch.float32}
    assert not torch.equal(plain.model.backbone.mix.weight, coarse.model.backbone.mix.weight)
    assert coarse.progress.best == pytest.approx(plain.progress.best, rel=0.1)


def test_training_leaves_the_process_as_it_was(store: Store, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = (torch.get_rng_state(), torch.get_default_dtype(), np.random.get_state()[1].copy())
    model_seed = 3
    run_trainer(store, tmp_path, steps=3, seed_of_model=model_seed)
    torch.manual_seed(5)
    assert torch.equal(before[0], torch.get_rng_state()) and torch.get_default_dtype() == before[1]
    assert torch.is_grad_enabled() and np.array_equal(before[2], np.random.get_state()[1])


# -- the machine ---------------------------------------------------------------------------------------------------


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "always", "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          timeout=300, check=False)


def test_denormals_are_flushed_in_every_thread_or_not_at_all() -> None:
    early = run_python("""
        import torch; torch.set_num_threads(2)
        from zoo.process import machine
        print(machine.prepare()["flush_denormal"], int((torch.full((1 << 20,), 1e-40) * 1).count_nonzero()))
    """)
    assert early.stdout.split() == ["True", "0"], early.stderr
    late = run_python("""
        import torch; torch.set_num_threads(2)
        torch.ones(1 << 20).add(1)  # the worker threads start
        from zoo.process import machine
        print(machine.prepare()["flush_denormal"], int((torch.full((1 << 20,), 1e-40) * 1).count_nonzero()))
    """)
    # Newer torch reaches threads that run already; older does not, and then it is left off everywhere.
    assert late.stdout.split() in (["True", "0"], ["False", str(1 << 20)]), late.stderr


def test_denormals_that_some_threads_keep_are_left_alone_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.process import machine

    monkeypatch.setattr(machine, "_every_thread_flushes", lambda: False)
    with pytest.warns(UserWarning, match="already started"):
        assert machine._flush_denormals() is False
    assert float(torch.tensor(1e-40) * 1) > 0


def test_importing_and_predicting_changes_nothing_global() -> None:
    ran = run_python("""
        import torch, zoo, ase.build
        torch.manual_seed(0)
        zoo.create("schnet", channels=8, num_filters=8, num_layers=1, num_radial=4).predict(ase.build.molecule("H2O"))
        print(float(torch.tensor(1e-40) * 1) > 0, torch.get_default_dtype(), torch.backends.cuda.matmul.allow_tf32)
    """)
    assert ran.stdout.split() == ["True", "torch.float32", "False"], ran.stderr


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(tmp_path: Path) -> None:
    from importlib.resources import files

    from zoo.cards.card import Card

    sample = str(files("zoo.data").joinpath("samples", "qm9"))
    Card.from_dict({
        "schema": 1, "name": "tiny-qm9", "architecture": "painn",
        "config": {"cutoff": 4.0, "channels": 8, "num_layers": 1, "num_radial": 5},
        "targets": {"U0": {"readout": "energy", "unit": "eV", "reference": "fitted", "hidden": [8]}},
        "domain": {"elements": ["H", "C", "N", "O", "F"]}, "data": {"dataset": "qm9"},
        "recipe": {"budget": {"steps": 6}, "batch": {"molecules": 20}, "eval_every": 3, "precision": "float64"},
    }).save(tmp_path)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    launch = {"one": [sys.executable, "-m", "zoo"], "two": [sys.executable, *torchrun, "-m", "zoo"]}
    for name, command in launch.items():
        options = ["--out", str(tmp_path / name), "--data", sample, "--device", "cpu", "--no-measure"]
        ran = subprocess.run([*command, "train", str(tmp_path / "card.yaml"), *options], capture_output=True, text=True,
                             timeout=600, check=False)
        assert ran.returncode == 0, ran.stderr
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / name / "model.safetensors") for name in launch)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-9, atol=1e-10)
