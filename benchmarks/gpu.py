"""Everything that only a GPU can tell, in one command and one report: `make gpu`.

    python benchmarks/gpu.py [--out report] [--minutes 2] [--qm9 PATH]     on a machine with a GPU
    python benchmarks/gpu.py --rehearse                                   the same on a CPU, with a few steps of all

Runs the tests marked ``cuda``, trains each family on QM9, times energies, forces, training and molecular dynamics, and
the steps of other packages' potentials that are installed (nequix, sevenn). What fails is written down, and the rest
goes on. The report is Markdown and JSON; please send both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.build
import torch

import zoo
from zoo.data import open_sample
from zoo.graph.graph import Graph

FAMILIES = ("schnet", "painn", "nequip", "dimenet", "gemnet")
ROOT = Path(__file__).resolve().parents[1]


class Session:
    """Where and how thoroughly things are measured."""

    def __init__(self, *, rehearse: bool, minutes: float, qm9: Path | None, out: Path) -> None:
        self.device = "cpu" if rehearse else "cuda"
        self.rehearse, self.minutes, self.qm9, self.out = rehearse, minutes, qm9, out

    def milliseconds(self, work: Callable[[], object]) -> float:
        """Median time of a call, the device having finished."""
        times = []
        for number in range(2 if self.rehearse else 25):
            began = time.perf_counter()
            work()
            if self.device == "cuda":
                torch.cuda.synchronize()
            if number or self.rehearse:
                times.append(1e3 * (time.perf_counter() - began))
        return round(statistics.median(times), 3)


def run_tests(session: Session) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/cuda"], cwd=ROOT,
                          capture_output=True, text=True)
    return {"status": done.returncode, "last lines": done.stdout.strip().splitlines()[-12:]}


def train(session: Session, family: str) -> dict[str, Any]:
    """Two minutes on QM9, or on the sample of it that comes with the zoo."""
    changes = ["budget={steps: 3}", "eval_molecules=16", "batch={molecules: 8}"] if session.rehearse else [
        f"budget={{hours: {session.minutes / 60:.5f}}}"]
    if session.qm9 is None:
        changes.append("data={dataset: qm9-sample}")
    out = session.out / "runs" / family
    zoo.train(f"{family}-qm9", out=out, overrides=changes, data=session.qm9, device=session.device, quiet=True,
              measure=False)
    card = zoo.load(out).card
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    validation = [line for line in lines if line["event"] == "evaluate"]
    return {"molecules per second": card.training.molecules_per_second, "steps": card.training.steps_done,
            "data": "QM9" if session.qm9 else "sample", "first loss": validation[0]["loss"],
            "last loss": validation[-1]["loss"]}


def inference(session: Session, family: str) -> dict[str, Any]:
    """Milliseconds of energies, and of energies and forces, of a batch whose edges are known."""
    model = zoo.load(f"{family}-qm9", device=session.device)
    count = 8 if session.rehearse else 256
    graph = model.with_vectors(open_sample(cutoff=None).graph(torch.arange(count)).to(session.device))

    def energies() -> None:
        with torch.no_grad():
            model(graph)

    return {"molecules": count, "energies, ms": session.milliseconds(energies),
            "energies and forces, ms": session.milliseconds(lambda: model(graph, ("forces",)))}


def dynamics(session: Session, family: str) -> dict[str, Any]:
    """Milliseconds of a step of one ethanol molecule, and of many at once."""
    model = zoo.load(f"{family}-ethanol", device=session.device)
    found = {}
    for count in (1, 4 if session.rehearse else 64):
        run = model.dynamics([ase.build.molecule("CH3CH2OH")] * count, ensemble="nvt", temperature=300.0)
        run.step(2 if session.rehearse else 20)
        found[f"{count} molecules, ms"] = session.milliseconds(run.step)
    return found


def search(session: Session) -> dict[str, Any]:
    """Milliseconds of a neighbor search at 5 Å."""
    from zoo.graph.neighbors import add_edges

    size = 4 if session.rehearse else 29
    frames = {"crystal": [ase.build.bulk("Cu", cubic=True) * (size, size, size)],
              "molecules": [ase.build.molecule("CH3CH2OH")] * (50 if session.rehearse else 20_000)}
    found = {}
    for name, structures in frames.items():
        graph = Graph.from_atoms(structures, dtype=torch.float64, device=session.device)
        took = session.milliseconds(lambda graph=graph: add_edges(graph, 5.0, method="cells"))
        found[f"{name}, {graph.num_nodes:,} atoms, ms"] = took
    return found


def peers(session: Session) -> dict[str, Any]:
    """Milliseconds of energy and forces of 64 atoms of silicon by calculators of packages that are installed."""
    def nequix() -> Any:
        from nequix.calculator import NequixCalculator

        return NequixCalculator("nequix-mp-1")

    def sevenn() -> Any:
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device=session.device)

    found: dict[str, Any] = {}
    for package, make in (("nequix", nequix), ("sevenn", sevenn)):
        if find_spec(package) is None:
            found[package] = "not installed"
            continue
        atoms = ase.build.bulk("Si", cubic=True) * (2, 2, 2)
        atoms.calc = make()

        def step(atoms: Any = atoms) -> None:
            atoms.rattle(0.001)
            atoms.get_forces()

        step()
        found[package] = session.milliseconds(step)
    return found


def machine(session: Session) -> dict[str, Any]:
    name = torch.cuda.get_device_name() if session.device == "cuda" else platform.processor() or platform.machine()
    return {"device": name, "rehearsal": session.rehearse, "torch": str(torch.__version__),
            "cuda": torch.version.cuda, "python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}


def attempted(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Result of a part with its seconds, or the error that ended it."""
    began = time.monotonic()
    try:
        found = work(*arguments)
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}
    return found | {"seconds": round(time.monotonic() - began, 1)}


def markdown(report: dict[str, dict[str, Any]]) -> str:
    lines = ["# What a GPU says" if not report["machine"]["rehearsal"] else "# Rehearsal on a CPU: no GPU was used"]
    for part, found in report.items():
        lines += ["", f"## {part}", "", *(f"- {name}: {value}" for name, value in found.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), help="new folder of the report")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training for each family")
    parser.add_argument("--qm9", type=Path, help="QM9 (folder or archive); without it, the sample that is included")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with a few steps of everything")
    options = parser.parse_args()
    if not (options.rehearse or torch.cuda.is_available()):
        sys.exit("This torch finds no CUDA device. Fix: install torch for CUDA, or add --rehearse.")
    options.out.mkdir(parents=True)
    session = Session(rehearse=options.rehearse, minutes=options.minutes, qm9=options.qm9, out=options.out)
    report = {"machine": machine(session)}
    parts: list[tuple[str, Callable[..., dict[str, Any]], tuple[Any, ...]]] = [("tests", run_tests, ())]
    for family in options.families.split(","):
        parts += [(f"{family}: {work.__name__}", work, (family,)) for work in (train, inference, dynamics)]
    parts += [("neighbor search", search, ()), ("peers", peers, ())]
    for name, work, arguments in parts:
        print(name, flush=True)
        report[name] = attempted(work, session, *arguments)
        (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "report.md").write_text(markdown(report))
    failed = [name for name, found in report.items() if "error" in found or found.get("status") not in (None, 0, 5)]
    print(f"{options.out}/report.md, report.json" + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
