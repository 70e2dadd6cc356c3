"""What is counted: training steps, steps of molecular dynamics, neighbor searches. Run as a module, prints JSON.

    python -m pretend_cuda.scenarios train painn forces adamw      # in a process with the guard library
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.build
import numpy as np
import torch
from ase import Atoms

import zoo
from pretend_cuda.counts import COUNTS, in_phase
from pretend_cuda.device import PretendCuda, set_memory
from zoo.errors import TrainingError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

ROOT = Path(__file__).resolve().parents[2]
FRAMES = ROOT / "zoo/data/samples/acac/frames.xyz"


def train(family: str, labels: str, optimizer: str, *overrides: str) -> dict[str, Any]:
    """A training step of the family's QM9 model (30 molecules) or, with ``forces``, its acetylacetone one (5)."""
    from zoo.training import loop

    average_over = 10 if optimizer == "soap" else 2
    changes = [f"budget={{steps: {2 + average_over}}}", "eval_every=1000", "eval_molecules=4", f"optimizer={optimizer}",
               "lr=1e-4", "schedule={kind: constant}", *overrides]
    if labels == "energy":
        card, data = f"{family}-qm9", None
        changes += ["data={dataset: qm9-sample}", "batch={molecules: 30}"]
    else:
        card, data = f"{family}-acac", FRAMES
        changes += ["batch={molecules: 5}", "data={units: {energy: eV, forces: eV/Å}, split: {train: 36, val: 4, "
                    "test: 4}}"]
    _phases_of_training(loop, with_forces=labels == "forces")
    losses, steps, taken = [], loop.Trainer._step, 0

    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal taken
        if taken == 2:
            COUNTS.clear()
        done = steps(self, *args, **kwargs)
        taken += 1
        losses.append(done[0])
        if taken == 2 + average_over:
            counted.update(COUNTS.summary(average_over))
        return done

    counted: dict[str, Any] = {}
    loop.Trainer._step = step  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        zoo.train(card, out=f"{folder}/run", overrides=changes, data=data, device=_DEVICE, quiet=True, measure=False)
    return counted | {"losses": losses}


def small_runs(family: str) -> dict[str, Any]:
    """A few steps on a few molecules: with data on the host, in bfloat16, repeatable, resumed on the other device."""
    said: dict[str, Any] = {}
    changes = ["data={dataset: qm9-sample}", "batch={molecules: 6}", "optimizer=adamw", "lr=1e-4",
               "schedule={kind: constant}", "eval_every=2", "eval_molecules=6"]

    def run(what: str, *more: str, steps: int = 2, device: str = _DEVICE, folder: str | None = None,
            **options: Any) -> None:
        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
            zoo.train(f"{family}-qm9", out=folder or f"{root}/{what}", device=device, measure=False,
                      overrides=[*changes, f"budget={{steps: {steps}}}", *more], **options)
        said[what] = text.getvalue()

    in_phase(torch.Tensor, "backward", "first derivatives")
    with tempfile.TemporaryDirectory() as root:
        run("bfloat16", "autocast=bf16")
        run("repeatable", "deterministic=true")
        run("cpu", device="cpu", folder=f"{root}/resumed")
        run("from the cpu", steps=4, folder=f"{root}/resumed", resume=True)
        run("to the cpu", steps=6, folder=f"{root}/resumed", resume=True, device="cpu")
        set_memory(1000)
        run("host", fast_dev_run=True)
        COUNTS.before_kernel = _full_in_backward
        try:
            run("full")
        except TrainingError as error:
            said["full"] = str(error)
    return said


def _full_in_backward(phase: str, operation: str) -> None:
    if phase == "first derivatives":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _phases_of_training(loop: Any, *, with_forces: bool) -> None:
    in_phase(torch.autograd, "grad", "first derivatives")
    in_phase(torch.Tensor, "backward", "second derivatives" if with_forces else "first derivatives")
    in_phase(loop.Prefetcher, "__call__", "batch")
    in_phase(loop.Prefetcher, "ahead", "batch")
    in_phase(loop.Criterion, "loss", "loss")
    in_phase(loop.Criterion, "counts", "loss")
    in_phase(loop, "clip_gradients", "optimizer")
    in_phase(loop.Average, "update", "optimizer")
    make = loop.make_optimizer

    def made(*args: Any) -> Any:
        optimizer = make(*args)
        in_phase(optimizer, "step", "optimizer")
        return optimizer

    loop.make_optimizer = made


def dynamics(family: str, structures: str = "1", ensemble: str = "nvt") -> dict[str, Any]:
    """Steps of molecular dynamics of ethanol molecules: those without a neighbor search, and one with it."""
    molecule = ase.build.molecule("CH3CH2OH")
    model = zoo.load(f"{family}-ethanol", device=_DEVICE)
    in_phase(torch.autograd, "grad", "first derivatives")
    run = model.dynamics([molecule] * int(structures), timestep=0.5, ensemble=ensemble, temperature=300.0)
    run.step(3)
    searches = run._evaluate.list.searches
    _count(lambda: run.step(8))
    assert run._evaluate.list.searches == searches, "a neighbor search among the steps that are counted"
    without = COUNTS.summary(8)
    run._evaluate.list._known = None
    _count(lambda: run.step(1))
    return {"step": without, "step with a search": COUNTS.summary(), "positions": run.pos.cpu().tolist()}


def search(kind: str) -> dict[str, Any]:
    """A neighbor search at 5 Å; ``edges`` of it."""
    graph = Graph.from_atoms(STRUCTURES[kind](), dtype=torch.float64, device=_DEVICE)
    found = add_edges(graph, 5.0)
    _count(lambda: add_edges(graph, 5.0))
    return COUNTS.summary() | {"edges": found.num_edges}


def predict(family: str) -> dict[str, Any]:
    """Targets and forces of seven molecules, to compare with those of the CPU."""
    names = ("CH3CH2OH", "C6H6", "CH4", "NH3", "H2O", "C2H2", "CH3CHO")
    model = zoo.load(f"{family}-qm9", device=_DEVICE)
    found = model.predict([ase.build.molecule(name) for name in names], derivatives=["forces"])
    return {"predictions": [{key: np.asarray(value).tolist() for key, value in row.items()} for row in found]}


def _count(work: Callable[[], object]) -> None:
    COUNTS.clear()
    work()


def _mixture() -> list[Atoms]:
    silicon = ase.build.bulk("Si", cubic=True)
    slab = ase.build.fcc111("Cu", (2, 2, 3), vacuum=6.0)
    return [silicon, ase.build.molecule("C6H6"), slab, ase.build.molecule("H2O"), ase.build.bulk("Cu"), silicon]


STRUCTURES: dict[str, Callable[[], list[Atoms]]] = {
    "8 atoms of silicon": lambda: [ase.build.bulk("Si", cubic=True)],
    "16 crystals of 8 atoms": lambda: [ase.build.bulk("Si", cubic=True)] * 16,
    "1000 atoms of silicon": lambda: [ase.build.bulk("Si", cubic=True) * (5, 5, 5)],
    "64 molecules": lambda: [ase.build.molecule(name) for name in ("CH3CH2OH", "C6H6", "H2O", "CH4")] * 16,
    "crystals, slab and molecules": _mixture,
}
_DEVICE = "cuda"


def _threads_see_the_device() -> None:
    """A dispatch mode is of a thread: that which gathers batches needs one of its own."""
    from zoo.training import prefetcher

    pool = prefetcher.ThreadPoolExecutor
    prefetcher.ThreadPoolExecutor = lambda *args, **kwargs: pool(  # type: ignore[assignment,misc]
        *args, initializer=lambda: PretendCuda().__enter__(), **kwargs)


def main() -> None:
    name, *arguments = sys.argv[1:]
    if "--cpu" in arguments:
        global _DEVICE
        _DEVICE = "cpu"
        arguments.remove("--cpu")
    _threads_see_the_device()
    if "--data-on-the-host" in arguments:
        set_memory(1000)
        arguments.remove("--data-on-the-host")
    scenario = {"train": train, "dynamics": dynamics, "search": search, "predict": predict,
                "small_runs": small_runs}[name]
    with PretendCuda():
        print(json.dumps(scenario(*arguments)))


if __name__ == "__main__":
    main()
