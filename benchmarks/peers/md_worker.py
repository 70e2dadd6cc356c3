"""One engine of a comparison of molecular dynamics: an ASE calculator and a clock. Runs in any peer's environment.

    python md_worker.py ENGINE FAMILY CONFIG

ENGINE is a module next to this file. Commands come as JSON lines on standard input,
``{"structure": "acac", "steps": 3}``; answers go out on lines that begin with ``@@``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.io import iread
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from worker import tune

HERE = Path(__file__).resolve().parent
CELLS = {1_000: (5, 5, 5), 10_000: (5, 10, 25), 100_000: (25, 25, 20)}
STEP = 0.5 * units.fs


@dataclass
class Engine:
    """What an engine module's ``build(family, config, symbols)`` returns.

    Attributes:
        calculator: of the package, with its own neighbour list.
        versions: of the packages.
        listing: seconds spent on neighbour lists so far, where the engine reports it.
    """

    calculator: Calculator
    versions: dict[str, str]
    listing: Callable[[], float] | None = None


class Run:
    """Velocity Verlet in ASE's units. The model's forces are computed and checked, but springs move the atoms.

    Untrained weights would tear a structure apart, and every package would do so in its own way. On springs of
    10 eV/Å² all of them see the same thermal motion, and search for neighbours as often as in a real run.
    """

    SPRING = 10.0

    def __init__(self, atoms: Atoms, engine: Engine, now: Callable[[], float]) -> None:
        self.atoms, self.engine, self.now = atoms, engine, now
        self.home = atoms.get_positions()
        MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(0))
        Stationary(atoms)
        atoms.calc = engine.calculator

    def steps(self, number: int) -> list[dict[str, float]]:
        """Seconds of each step, in all and on the neighbour list."""
        taken = []
        for _ in range(number):
            listing = self.engine.listing() if self.engine.listing else 0.0
            begin = self.now()
            self._step()
            took = {"seconds": self.now() - begin}
            if self.engine.listing:
                took["listing"] = self.engine.listing() - listing
            taken.append(took)
        return taken

    def _step(self) -> None:
        atoms, masses = self.atoms, self.atoms.get_masses()[:, None]
        momenta = atoms.get_momenta() - 0.5 * STEP * self.SPRING * (atoms.positions - self.home)
        atoms.positions += STEP * momenta / masses
        forces = atoms.get_forces()
        if forces.shape != atoms.positions.shape or not np.isfinite(forces).all():
            raise SystemExit("no forces")
        atoms.set_momenta(momenta - 0.5 * STEP * self.SPRING * (atoms.positions - self.home))


def structure(name: str) -> Atoms:
    """``acac``, ``3bpa``, or silicon with a number of atoms: ``si-1000``."""
    if name.startswith("si-"):
        return bulk("Si", cubic=True) * CELLS[int(name[3:])]
    for atoms in iread(HERE.parent / "molecules.xyz", index=":"):
        if atoms.info["name"] == name:
            return atoms
    raise SystemExit(f"no structure {name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("engine")
    parser.add_argument("family")
    parser.add_argument("config")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=0.0, help="GB the process may take; 0: as much as there is")
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    if options.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (int(options.memory * 1e9),) * 2)
    tune(options.threads)
    now = time.process_time if options.processor_time else time.perf_counter
    build = importlib.import_module(options.engine).build
    name, run = "", None
    reply({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command["structure"] != name:
                name, run = command["structure"], None
                atoms = structure(name)
                symbols = sorted(set(atoms.get_chemical_symbols()))
                run = Run(atoms, build(options.family, json.loads(options.config), symbols, now), now)
            answer = {"steps": run.steps(command["steps"]), "atoms": len(run.atoms), "versions": run.engine.versions}
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
                raise
            answer, name, run = {"out_of_memory": True}, "", None
        reply(answer | {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6})


def reply(content: dict) -> None:
    print("@@" + json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
