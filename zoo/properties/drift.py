"""How well a model's forces conserve energy: drift of NVE dynamics."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ase
import numpy as np
import torch

from zoo.model.model import Model
from zoo.simulation.dynamics import Dynamics

__all__ = ["energy_drift"]


def energy_drift(
    model: Model,
    atoms: ase.Atoms,
    *,
    temperature: float = 300.0,
    picoseconds: float = 10.0,
    timestep: float = 0.5,
    seeds: int = 1,
    equilibrate: float = 1.0,
    every: int = 10,
    skin: float = 0.5,
    compile: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Drift of the total energy in NVE (velocity Verlet) after NVT equilibration (Langevin).

    Args:
        temperature: K. picoseconds: of NVE. timestep: fs. equilibrate: ps of NVT before it. every: steps between
            two records. seeds: runs, all in one batch; the worst of them counts.
        compile: see :class:`zoo.inference.potential.Potential`.
        progress: called with steps done and all.

    Returns:
        Plain data: ``drift_meV_per_atom``, slope of a linear fit to the energy times the length of the run;
        ``largest_deviation_meV_per_atom`` from the first energy; ``fluctuation_meV_per_atom``, rms about the line;
        ``mean_temperature_K``; ``ms_per_step`` by the clock and ``cpu_ms_per_step`` of processor time on this machine.
    """
    warm, steps = round(1000 * equilibrate / timestep), round(1000 * picoseconds / timestep)
    copies: list[ase.Atoms] = [atoms] * seeds
    if warm:
        bath = Dynamics(model, copies, ensemble="nvt", temperature=temperature, timestep=timestep, skin=skin,
                        compile=compile)
        while bath.steps_done < warm:
            bath.step(min(every, warm - bath.steps_done))
            _report(progress, bath.steps_done, warm + steps)
        copies = bath.atoms()
    dynamics = Dynamics(model, copies, timestep=timestep, temperature=None if warm else temperature, skin=skin,
                        compile=compile)
    energies, temperatures = [dynamics.total.cpu()], [dynamics.temperature.cpu()]
    began, worked = time.perf_counter(), time.process_time()
    while dynamics.steps_done < steps:
        dynamics.step(min(every, steps - dynamics.steps_done))
        energies.append(dynamics.total.cpu())
        temperatures.append(dynamics.temperature.cpu())
        _report(progress, warm + dynamics.steps_done, warm + steps)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    energy = torch.stack(energies).numpy() * 1000 / len(atoms)
    moment = np.linspace(0.0, 1.0, len(energy))
    slope, start = np.polyfit(moment, energy, 1)
    rest = energy - start - moment[:, None] * slope
    return {
        "structure": atoms.get_chemical_formula(), "ensemble": "NVE, velocity Verlet", "timestep_fs": timestep,
        "length_ps": picoseconds, "dtype": str(model.dtype).removeprefix("torch."), "compiled": compile,
        "runs": seeds,
        "failed": int(dynamics.failed.sum()),
        "drift_meV_per_atom": float(f"{slope[np.abs(slope).argmax()]:.3g}"),
        "largest_deviation_meV_per_atom": float(f"{np.abs(energy - energy[0]).max():.3g}"),
        "fluctuation_meV_per_atom": float(f"{np.sqrt(np.square(rest).mean(0)).max():.3g}"),
        "mean_temperature_K": round(float(torch.stack(temperatures).mean()), 1),
        "ms_per_step": float(f"{1000 * seconds / steps:.3g}"),
        "cpu_ms_per_step": float(f"{1000 * worked / steps:.3g}"),
    }


def _report(progress: Callable[[int, int], None] | None, done: int, of: int) -> None:
    if progress is not None:
        progress(done, of)
