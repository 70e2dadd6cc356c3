"""The zoo against the packages people use today: same molecules, same weights, same process settings, one run.

    python tests/reference/make.py --install-only     once: the peers' environments
    python benchmarks/bench_peers.py                  Markdown on standard output, JSON in a file next to it
    python benchmarks/bench_peers.py --only painn --rounds 3 --seconds 1
    python benchmarks/bench_peers.py --threads 1 --processor-time        on a busy machine

Both sides of a comparison are processes of their own that live side by side; they take turns, A B B A A B …, so that
whatever else the machine does falls on both. A side's time is the median over all its steps; the ratio is of medians,
and its range comes from the ratios of single turns. Neighbour lists (and, for the peers, triplets) are made outside the
clock; distances inside.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file
from sides import Side, python_of

from zoo.data import open_sample
from zoo.graph import triplets

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TASKS = ("E", "E+F", "train E", "train E+F")
CUTOFF = 5.0


@dataclass(frozen=True)
class Comparison:
    """One family and its peer.

    Attributes:
        peer: what the peer is called in the table.
        environment: of ``peers/<environment>``; its side module is ``side_<environment>``.
        config: of the peer's constructor.
        importer, given: how the zoo takes over its weights.
    """

    family: str
    peer: str
    environment: str
    config: dict[str, Any]
    importer: str
    given: dict[str, Any] = field(default_factory=dict)


NEQUIP = {"num_features": 32, "parity": False, "avg_num_neighbors": 16.0}
COMPARISONS = (
    Comparison("schnet", "torch-geometric SchNet", "pyg", {
        "hidden_channels": 128, "num_filters": 128, "num_interactions": 6, "num_gaussians": 50, "cutoff": CUTOFF,
    }, "pyg-schnet"),
    Comparison("painn", "schnetpack PaiNN", "schnetpack", {
        "n_atom_basis": 128, "n_interactions": 3, "n_rbf": 20, "cutoff": CUTOFF,
    }, "schnetpack-painn"),
    Comparison("dimenet", "torch-geometric DimeNet++", "pyg", {
        "hidden_channels": 128, "out_channels": 1, "num_blocks": 4, "int_emb_size": 64, "basis_emb_size": 8,
        "out_emb_channels": 256, "num_spherical": 7, "num_radial": 6, "cutoff": CUTOFF,
    }, "pyg-dimenet", {"cutoff": CUTOFF}),
    Comparison("gemnet", "fairchem-core GemNet-T", "fairchem", {
        "num_spherical": 7, "num_radial": 6, "num_blocks": 4, "emb_size_atom": 128, "emb_size_edge": 128,
        "emb_size_trip": 64, "emb_size_rbf": 16, "emb_size_cbf": 16, "emb_size_bil_trip": 64, "num_before_skip": 1,
        "num_after_skip": 1, "num_concat": 1, "num_atom": 2, "cutoff": CUTOFF, "rbf": {"name": "spherical_bessel"},
    }, "fairchem-gemnet", {"cutoff": CUTOFF}),
    Comparison("nequip", "nequip", "nequip", {
        "r_max": CUTOFF, "type_names": ["H", "C", "N", "O", "F"], "num_layers": 4, "l_max": 2, "radial_mlp_depth": 2,
        "radial_mlp_width": 64, **NEQUIP,
    }, "nequip", NEQUIP),
)  # fmt: skip


def make_batch(path: Path, molecules: int) -> dict[str, int]:
    """Test molecules of the QM9 sample with edges and triplets. Returns their numbers."""
    store = open_sample(cutoff=CUTOFF)
    rows = torch.randperm(len(store), generator=torch.Generator().manual_seed(0))[:molecules]
    graph = store.graph(rows)
    angles = triplets(graph)
    tensors = {
        "z": graph.z, "pos": graph.pos, "batch": graph.batch, "n_atoms": graph.ptr.diff(),
        "edge_index": graph.edge_index, "triplet_kj": angles.edge_kj, "triplet_ji": angles.edge_ji,
    }  # fmt: skip
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    return {"molecules": molecules, "atoms": graph.num_nodes, "edges": graph.num_edges,
            "triplets": len(angles.edge_kj)}


def compare(comparison: Comparison, batch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides, all tasks, by turns."""
    exchange = batch.with_name(f"{comparison.family}.safetensors")

    def start(environment: str, config: dict[str, Any]) -> Side:
        python = None if environment == "zoo" else python_of(environment, options)
        arguments = [f"side_{environment}", comparison.family, str(batch), str(exchange), "--config",
                     json.dumps(config), "--device", options.device]
        return Side(f"{comparison.family} of {environment}", python, "worker.py", arguments, options)

    # The peer first: the zoo takes over the weights that it leaves.
    peer = start(comparison.environment, comparison.config)
    ours = start("zoo", {"importer": comparison.importer, "given": comparison.given})
    sides = {"zoo": ours, "peer": peer}
    try:
        difference = disagreement(*(side.ask(task="answer", steps=1) for side in sides.values()))
        tasks = {task: take_turns(sides, task, options) for task in options.tasks}
        memory = {name: round(side.ask(task="memory", steps=1)["peak_gb"], 2) for name, side in sides.items()}
    finally:
        for side in sides.values():
            side.close()
    return {
        "family": comparison.family, "peer": comparison.peer, "config": comparison.config,
        "parameters": {name: side.about["parameters"] for name, side in sides.items()},
        "versions": {name: side.about["versions"] for name, side in sides.items()},
        "disagreement": difference, "tasks": tasks, "peak_memory_gb": memory,
    }  # fmt: skip


def disagreement(a: dict[str, list], b: dict[str, list]) -> dict[str, float]:
    """Largest difference over the largest value."""
    found = {}
    for key in ("energy", "forces"):
        x, y = torch.tensor(a[key]), torch.tensor(b[key])
        found[key] = float((x - y).abs().max() / y.abs().max())
        if found[key] > 1e-3:
            raise SystemExit(f"the two sides do not compute the same {key}: {found[key]:.1e}; nothing to compare")
    return found


def take_turns(sides: dict[str, Side], task: str, options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, then rounds in which each side does about ``--seconds`` of steps."""
    steps = {}
    for name, side in sides.items():
        warm = side.ask(task=task, steps=2)["seconds"][-1]
        steps[name] = max(1, round(options.seconds / warm))
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    ratios = []
    for turn in range(options.rounds):
        order = list(sides) if turn % 2 else list(sides)[::-1]
        taken = {name: sides[name].ask(task=task, steps=steps[name])["seconds"] for name in order}
        ratios.append(median(taken["peer"]) / median(taken["zoo"]))
        for name in sides:
            seconds[name] += taken[name]
    result = {f"{name}_ms": round(1e3 * median(values), 2) for name, values in seconds.items()}
    result |= {f"{name}_per_s": round(options.molecules / median(values), 1) for name, values in seconds.items()}
    return result | {"ratio": round(median(seconds["peer"]) / median(seconds["zoo"]), 3),
                     "range": [round(min(ratios), 2), round(max(ratios), 2)],
                     "steps": {name: len(values) for name, values in seconds.items()}}


def markdown(report: dict[str, Any]) -> str:
    """One row a family: molecules per second of both, and how many times faster the zoo is."""
    batch, lines = report["batch"], []
    lines.append(f"{report['machine']}, {report['threads']} threads, {report['device']}, {report['clock']} time, "
                 f"float32, {batch['molecules']} molecules, {batch['atoms']} atoms, {batch['edges']} edges a batch; "
                 "molecules/s, zoo against peer, ratio of medians (lowest and highest turn)\n")
    tasks = list(report["results"][0]["tasks"]) if report["results"] else []
    lines.append("| family | peer | parameters | " + " | ".join(tasks) + " | peak GB |")
    lines.append("|---|---|---|" + "---|" * (len(tasks) + 1))
    for result in report["results"]:
        cells = []
        for task in tasks:
            t = result["tasks"][task]
            low, high = t["range"]
            cells.append(f"{t['zoo_per_s']:.0f} / {t['peer_per_s']:.0f} **{t['ratio']:.2f}×** ({low}–{high})")
        memory = result["peak_memory_gb"]
        versions = {k: v for k, v in result["versions"]["peer"].items() if k not in ("torch", "e3nn")}
        peer = f"{result['peer']} {next(iter(versions.values()))}"
        cells.append(f"{memory['zoo']} / {memory['peer']}")
        lines.append(f"| {result['family']} | {peer} | {result['parameters']['zoo']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[c.family for c in COMPARISONS])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=10, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=2.0, help="about so long is a turn")
    parser.add_argument("--molecules", type=int, default=64, help="in the batch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processor-time", action="store_true",
                        help="seconds of the processor, not of the wall: for a busy machine, with --threads 1")
    parser.add_argument("--peers", type=Path, default=ROOT / "peers")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "peers.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "batch.safetensors"
        report = {
            "machine": _machine(), "threads": options.threads, "device": options.device,
            "clock": "processor" if options.processor_time else "wall",
            "batch": make_batch(batch, options.molecules),
            "results": [],
        }  # fmt: skip
        for comparison in COMPARISONS:
            if options.only and comparison.family not in options.only:
                continue
            print(f"{comparison.family} …", file=sys.stderr, flush=True)
            report["results"].append(compare(comparison, batch, options))
            # Written after every family: a run that is stopped keeps what it has.
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(report))


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
