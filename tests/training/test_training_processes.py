"""Several processes, and processes that die. Children are forked: they start in no time and inherit what is loaded."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # torch.optim imports it at its first use, in seconds: forked children inherit it
from tiny import make_model, make_store, run_trainer

from zoo.data import Store
from zoo.errors import TrainingError
from zoo.training.checkpoint import Checkpoints

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


PATIENCE = 60.0
"""Seconds a child may take; before they are over it says where it hangs."""


def child(work: Callable[[], Any]) -> int:
    """Fork; the child does its work on one thread (a forked thread pool hangs) and exits with 0, or 1 on an error."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        torch.set_num_threads(1)
        faulthandler.dump_traceback_later(PATIENCE - 10, exit=True)
        work()
    except TrainingError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(2)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(pid: int, seconds: float = PATIENCE) -> int:
    """Exit status of a child; negative for a signal."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError(f"the child did not end within {seconds} s")


def final(folder: Path) -> tuple[dict, dict, dict]:
    kept = Checkpoints(folder / "checkpoints")
    return kept.read(kept.steps()[-1])


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# -- kill −9 -------------------------------------------------------------------------------------------------------


def test_killed_at_random_moments_it_comes_to_the_same_weights(store: Store, tmp_path: Path) -> None:
    recipe = {"steps": 60, "eval_every": 8, "losses": {"forces": {}}}

    def go(folder: Path) -> None:
        run_trainer(store, folder, resume=bool(Checkpoints(folder / "checkpoints").steps()), **recipe)

    began = time.monotonic()
    assert wait(child(lambda: go(tmp_path / "whole"))) == 0
    whole = time.monotonic() - began
    draw, kills = random.Random(0), 0
    while True:
        pid = child(lambda: go(tmp_path / "killed"))
        time.sleep(draw.uniform(0.1, 0.6) * whole if kills < 6 else 0)
        if kills < 6 and os.waitpid(pid, os.WNOHANG) == (0, 0):
            os.kill(pid, signal.SIGKILL)
            status = wait(pid)
            if status == 0:  # it came to its end before the signal did
                break
            assert status == -signal.SIGKILL
            kills += 1
            continue
        if kills >= 6:
            assert wait(pid) == 0
        break
    assert kills >= 1
    a, b = final(tmp_path / "whole"), final(tmp_path / "killed")
    assert a[2]["step"] == b[2]["step"] == 60
    assert equal(a[0], b[0]) and equal(a[1], b[1])


@pytest.mark.parametrize("moment", ["mkdir", "model", "average", "state", "flush", "rename", "after", "prune"])
def test_killed_while_a_checkpoint_is_written_it_has_the_one_before_or_the_new_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The process is killed at each point of the second write; what is there afterwards is whole."""
    from zoo.training import checkpoint

    kept = Checkpoints(tmp_path / "checkpoints", keep=1)
    state = {"progress": {"step": 1}}
    tensors = make_model().state_dict()
    kept.write(1, tensors, tensors, state, best=None)

    def die(*args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def second() -> None:
        calls = {"count": 0}
        real = checkpoint.save_file

        def save(*args: Any, **kwargs: Any) -> None:
            calls["count"] += 1
            if calls["count"] == (1 if moment == "model" else 2):
                Path(args[1]).write_bytes(b"half")
                die()
            real(*args, **kwargs)

        if moment in ("model", "average"):
            checkpoint.save_file = save
        target = {"mkdir": (Path, "mkdir"), "state": (torch, "save"), "flush": (checkpoint, "_flush"),
                  "rename": (checkpoint.os, "rename"), "prune": (checkpoint.shutil, "rmtree")}.get(moment)
        if target is not None:
            setattr(*target, die)
        if moment == "after":
            rename = os.rename

            def rename_and_die(*args: Any) -> None:
                rename(*args)
                die()

            checkpoint.os.rename = rename_and_die
        kept.write(2, tensors, tensors, {"progress": {"step": 2}}, best=None)

    assert wait(child(second)) == -signal.SIGKILL
    steps = kept.steps()
    assert steps in ([1], [1, 2])
    assert (steps == [1, 2]) == (moment in ("after", "prune"))
    raw, average, saved = kept.read(steps[-1])
    assert equal(raw, tensors) and equal(average, tensors) and saved["progress"]["step"] == steps[-1]
    # The next write clears what was left behind.
    kept.write(3, tensors, None, state, best=None)
    assert [p.name for p in kept.folder.iterdir()] == ["step-000000003"]


# -- signals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_schedulers_signal_ends_the_run_with_a_checkpoint(store: Store, tmp_path: Path, number: int) -> None:
    def go() -> None:
        trainer = run_trainer(store, tmp_path, steps=10**7, eval_every=10**6)
        assert trainer.outcome.reason == "signal"

    pid = child(go)
    while not (tmp_path / "metrics.jsonl").exists():
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(pid, number)
    assert wait(pid) == 0
    _, _, state = final(tmp_path)
    assert state["progress"]["step"] > 0
    resumed = run_trainer(store, tmp_path, steps=state["progress"]["step"] + 2, resume=True)
    assert resumed.progress.step == state["progress"]["step"] + 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the handler does not outlive the run"


# -- ranks ---------------------------------------------------------------------------------------------------------


LOGIT_BIAS = "readouts.gap.net.2.bias"
"""Its second entry is added to all logits of a softmax: it changes nothing, and Adam moves it by rounding errors."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def on_ranks(count: int, work: Callable[[int], Any]) -> list[int]:
    """Fork ranks of one job; their exit statuses."""
    port = free_port()

    def start(rank: int) -> int:
        def go() -> None:
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1",
                              MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
            work(rank)

        return child(go)

    return [wait(pid) for pid in [start(rank) for rank in range(count)]]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float64", 1e-10), pytest.param("float32", 1e-5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "recipe",
    [
        {"losses": {"forces": {"weight": 3.0}}},
        # Batches of one or two molecules: one of the ranks has nothing to do in most steps.
        {"batch": {"molecules": 2}, "losses": {"gap": {"kind": "huber", "delta": 0.5, "per_atom": True}}},
        {"batch": {"edges": 120}, "accumulate": 2, "early_stop": {"patience": 2}},
    ],
    ids=["forces", "empty shares", "accumulated"],
)
def test_two_ranks_give_the_run_of_one(tmp_path: Path, recipe: dict, precision: str, tolerance: float) -> None:
    store = make_store(seed=3)
    settings = {"steps": 20, "precision": precision, "eval_every": 5} | recipe
    assert wait(child(lambda: run_trainer(store, tmp_path / "one", **settings))) == 0
    assert on_ranks(2, lambda rank: run_trainer(store, tmp_path / "two", **settings)) == [0, 0]
    one, two = final(tmp_path / "one"), final(tmp_path / "two")
    assert one[2]["progress"]["step"] == two[2]["progress"]["step"]
    for part in range(2):
        for name, value in one[part].items():
            here, there = (x[0] if name == LOGIT_BIAS else x for x in (value, two[part][name]))
            torch.testing.assert_close(there, here, rtol=tolerance, atol=tolerance)
    assert one[2]["progress"]["best"] == pytest.approx(two[2]["progress"]["best"], rel=tolerance)


def test_a_rank_that_dies_ends_the_job_with_a_message(store: Store, tmp_path: Path,
                                                      capfd: pytest.CaptureFixture) -> None:
    """One of two ranks is killed in step 7: the other ends by itself, with status 2, and the checkpoint is whole."""
    def work(rank: int) -> None:
        from zoo.training import loop

        real = loop.Trainer._step

        def step(self: Any, *args: Any, **kwargs: Any) -> Any:
            if rank == 1 and self.progress.step == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *args, **kwargs)

        loop.Trainer._step = step
        run_trainer(store, tmp_path, steps=50, eval_every=2)

    assert on_ranks(2, work) == [2, -signal.SIGKILL]
    assert "another rank of the job has ended" in capfd.readouterr().err
    assert final(tmp_path)[2]["progress"]["step"] == 6


def test_a_loss_that_is_not_finite_on_one_rank_ends_all(store: Store, tmp_path: Path,
                                                        capfd: pytest.CaptureFixture) -> None:
    from dataclasses import replace

    pos = store.pos.clone()
    pos[store.ptr[30]] = float("nan")
    broken = replace(store, pos=pos)
    assert on_ranks(2, lambda rank: run_trainer(broken, tmp_path, steps=50, fit_on=store)) == [2, 2]
    assert capfd.readouterr().err.count(str(int(store.ids[30]))) >= 2


def test_a_signal_to_one_rank_stops_all_at_the_same_step(store: Store, tmp_path: Path) -> None:
    def work(rank: int) -> None:
        stop = 9 if rank == 1 else None
        trainer = run_trainer(store, tmp_path, steps=10**6, eval_every=10**5, stop_at=stop)
        assert (trainer.outcome.reason, trainer.progress.step) == ("signal", 9)

    assert on_ranks(2, work) == [0, 0]


def test_ranks_wait_for_the_one_that_converts_the_data(tmp_path: Path) -> None:
    """Also where a sum over ranks returns before all have come, as NCCL's does."""
    def work(rank: int) -> None:
        import torch.distributed as dist

        from zoo.training.distributed import ranks

        with ranks("cpu") as here:
            dist.all_reduce = lambda values: None
            if rank == 0:
                time.sleep(1.0)
                (tmp_path / "converted").touch()
            here.wait()
            assert (tmp_path / "converted").exists()

    assert on_ranks(2, work) == [0, 0]
