"""What each hand-fused operation gains: processor time with its plain form over that with its fused form.

    python benchmarks/fused.py [--operations …] [--structures …] [--rounds 5]

Both forms run in this process, by turns, on one thread; a ratio is that of the medians, so 1.30 means that the plain
form takes 30 % longer for the whole step. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ase.build
import ase.io
import torch
from zoo_plugins.nequip.convolution import Convolution
from zoo_plugins.painn.messages import MessageSums

import zoo
from zoo.data import open_sample
from zoo.graph import Graph, add_edges
from zoo.nn import Filtered, FilteredSum, FusedOperation, OuterSum, RowSum, TableSum, force
from zoo.nn.fused.blockwise import Blockwise
from zoo.nn.fused.silu import FusedSiLU
from zoo.nn.fused.softplus import FusedShiftedSoftplus
from zoo.process.machine import prepare

CUTOFF = 5.0
TASKS = ("E", "E+F", "train E", "train E+F")
CONFIGS: dict[str, dict[str, Any]] = {
    "schnet": {"preset": "paper"},
    "painn": {"preset": "paper"},
    "dimenet": {"preset": "paper"},
    "gemnet": {"preset": "small"},
    "nequip": {"num_layers": 4, "lmax": 2, "num_features": 32, "parity": False, "radial_depth": 2},
}
OPERATIONS: dict[str, tuple[type[FusedOperation], tuple[str, ...]]] = {
    "Filtered": (Filtered, ("painn",)),
    "FilteredSum": (FilteredSum, ("schnet", "painn")),
    "OuterSum": (OuterSum, ("painn",)),
    "RowSum": (RowSum, ("schnet",)),
    "TableSum": (TableSum, ("schnet",)),
    "MessageSums": (MessageSums, ("painn",)),
    "Convolution": (Convolution, ("nequip",)),
    "FusedSiLU": (FusedSiLU, ("nequip", "gemnet", "dimenet")),
    "FusedShiftedSoftplus": (FusedShiftedSoftplus, ("schnet",)),
    "Blockwise": (Blockwise, ("dimenet", "gemnet")),
}
"""Each with the families that use it."""
# Weights are constant and edges many, or nothing changes.
ONLY = {"TableSum": ("E", "E+F"), "MessageSums": ("E", "E+F"), "Blockwise": ("E",)}
LARGE = {"silicon": ("schnet", "painn", "nequip")}
"""Structures for some families only: with its angles, silicon does not fit the memory in training."""


def qm9() -> Graph:
    store = open_sample(cutoff=CUTOFF)
    return store.graph(torch.randperm(len(store), generator=torch.Generator().manual_seed(0))[:64])


def silicon() -> Graph:
    atoms = ase.build.bulk("Si", cubic=True).repeat(5)
    atoms.rattle(0.05, seed=1)
    return add_edges(Graph.from_atoms(atoms), CUTOFF)


def molecule() -> Graph:
    """Acetylacetone."""
    return add_edges(Graph.from_atoms(ase.io.read(Path(__file__).with_name("molecules.xyz"), 0)), CUTOFF)


STRUCTURES: dict[str, Callable[[], Graph]] = {"64 QM9 molecules": qm9, "silicon": silicon, "15 atoms": molecule}


class Steps:
    """The four things to do with one model and one batch."""

    def __init__(self, family: str, graph: Graph) -> None:
        torch.manual_seed(0)
        self.model = zoo.create(family, elements=["H", "C", "N", "O", "F", "Si"], **CONFIGS[family])
        self.graph = graph
        self.energies, self.forces = torch.randn(graph.num_graphs), torch.randn(graph.pos.shape)

    def seconds(self, task: str) -> float:
        training = task.startswith("train")
        self.model.train(training).requires_grad_(training)
        graph = self.graph.replace(edge_index=self.graph.edge_index)  # nothing derived from the edges
        begin = time.process_time()
        name = self.model.energy_target
        with torch.set_grad_enabled(task != "E"):
            out = self.model(graph, derivatives=("forces",) * task.endswith("F"), standardised=True)
            if training:
                loss = (out[name] - self.energies).square().mean()
                if "forces" in out:
                    loss = loss + (out["forces"] - self.forces).square().mean()
                self.model.zero_grad(set_to_none=True)
                loss.backward()
        return time.process_time() - begin


def ratio(steps: Steps, task: str, operation: type[FusedOperation], rounds: int) -> float:
    taken: dict[str, list[float]] = {"fused": [], "plain": []}
    for turn in range(rounds + 1):
        taken_now = {"fused": steps.seconds(task)}
        with force("plain", operation):
            taken_now["plain"] = steps.seconds(task)
        if turn:  # the first one warms up
            for form, seconds in taken_now.items():
                taken[form].append(seconds)
    return median(taken["plain"]) / median(taken["fused"])


def main() -> None:
    parser = argparse.ArgumentParser(description="What each hand-fused operation gains.")
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS, default=list(OPERATIONS))
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prepare()
    print(f"torch {torch.__version__}, one thread, processor time, float32, median of {options.rounds}\n")
    print(f"| operation | family | structure | {' | '.join(TASKS)} |")
    print("|---" * (3 + len(TASKS)) + "|")
    for structure in options.structures:
        graph = STRUCTURES[structure]()
        for name in options.operations:
            operation, families = OPERATIONS[name]
            for family in families:
                if family not in LARGE.get(structure, CONFIGS):
                    continue
                steps = Steps(family, graph)
                tasks = ONLY.get(name, TASKS)
                cells = [f"{ratio(steps, t, operation, options.rounds):.2f}" if t in tasks else "" for t in TASKS]
                print(f"| {name} | {family} | {structure} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
