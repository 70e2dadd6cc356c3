"""One side of a comparison: a model, four things to do with it, and a clock. Runs in any peer's environment.

    python worker.py SIDE FAMILY BATCH EXCHANGE [--threads N] [--device cpu] [--processor-time]

SIDE is a module next to this file. Commands come as JSON lines on standard input, ``{"task": "E", "steps": 3}``;
answers go out on lines that begin with ``@@``. Imports torch and safetensors only.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

TASKS = ("E", "E+F", "train E", "train E+F")


@dataclass
class Side:
    """What a side module's ``build(family, config, batch, exchange)`` returns.

    Attributes:
        model: for its parameters, train() and eval().
        energy: positions (N, 3) → energies (B,); edges are given, distances are taken inside.
        both: positions → energies and forces, forces differentiable when asked for; by default through autograd.
        versions: of the packages.
    """

    model: torch.nn.Module
    energy: Callable[[Tensor], Tensor]
    versions: dict[str, str]
    both: Callable[[Tensor, bool], tuple[Tensor, Tensor]] | None = None


def tune(threads: int) -> None:
    """The same process settings for both sides, before the first tensor operation: threads, denormals, malloc."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    if sys.platform.startswith("linux"):
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        most = (1 << 31) - 1
        if not mallopt(mmap_threshold, most):
            mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, most)
        mallopt(top_pad, 64 << 20)


class Clock:
    """Repeats a task and reports the seconds of each run."""

    def __init__(self, side: Side, batch: dict[str, Tensor], device: str, now: Callable[[], float]) -> None:
        self.side, self.device, self.now = side, device, now
        self.pos = batch["pos"].to(device)
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.randn(len(batch["n_atoms"]), generator=generator).to(device)
        self.forces = torch.randn(self.pos.shape, generator=generator).to(device)
        parameters = [p for p in side.model.parameters() if p.requires_grad]
        # A learning rate of zero: the work of a step, and the same weights after it on both sides.
        self.optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.0)

    def run(self, task: str, steps: int) -> list[float]:
        self.side.model.train(task.startswith("train"))
        seconds = []
        for _ in range(steps):
            self._wait()
            begin = self.now()
            self._step(task)
            self._wait()
            seconds.append(self.now() - begin)
        return seconds

    def _step(self, task: str) -> None:
        if task == "E":
            with torch.no_grad():
                self.side.energy(self.pos)
        elif task == "E+F":
            self._both(training=False)
        else:
            if task == "train E":
                loss = (self.side.energy(self.pos) - self.labels).square().mean()
            else:
                energy, forces = self._both(training=True)
                loss = (energy - self.labels).square().mean() + (forces - self.forces).square().mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()

    def _both(self, *, training: bool) -> tuple[Tensor, Tensor]:
        if self.side.both is not None:
            return self.side.both(self.pos, training)
        pos = self.pos.clone().requires_grad_()
        energy = self.side.energy(pos)
        (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=training)
        return energy, -gradient

    def answer(self) -> dict[str, list]:
        """Energies and forces, to show that both sides compute the same function."""
        self.side.model.eval()
        energy, forces = self._both(training=False)
        return {"energy": energy.detach().double().tolist(), "forces": forces.detach().double().tolist()}

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side")
    parser.add_argument("family")
    parser.add_argument("batch", type=Path)
    parser.add_argument("exchange", type=Path)
    parser.add_argument("--config", default="{}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    tune(options.threads)
    batch = {k: v.float() if v.dtype == torch.float64 else v for k, v in load_file(options.batch).items()}
    build = importlib.import_module(options.side).build
    torch.manual_seed(0)
    side = build(options.family, json.loads(options.config), batch, options.exchange, options.device)
    clock = Clock(side, batch, options.device, time.process_time if options.processor_time else time.perf_counter)
    parameters = sum(p.numel() for p in side.model.parameters() if p.requires_grad)
    reply({"versions": {"torch": torch.__version__} | side.versions, "parameters": parameters})
    for line in sys.stdin:
        command = json.loads(line)
        if command["task"] == "answer":
            reply(clock.answer())
        elif command["task"] == "memory":
            reply({"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6})
        else:
            reply({"seconds": clock.run(command["task"], command["steps"])})


def reply(content: dict) -> None:
    print("@@" + json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
