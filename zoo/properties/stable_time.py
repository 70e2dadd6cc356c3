"""Stability of molecular dynamics: how many runs keep their bonds, and bond lengths compared with data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from zoo.errors import StructureError
from zoo.model.model import Model
from zoo.properties.bonds import Bonds
from zoo.simulation.dynamics import Dynamics
from zoo.simulation.relaxation import relax

__all__ = ["stability"]

_TOO_LONG, _TOO_SHORT = 2.0, 0.5
_EVERY_FS = 10.0


def stability(
    model: Model,
    atoms: ase.Atoms,
    *,
    temperatures: Sequence[float] = (300.0, 600.0),
    seeds: int = 10,
    picoseconds: float = 10.0,
    timestep: float = 0.5,
    friction: float = 0.01,
    data: Sequence[ase.Atoms] = (),
    compile: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Langevin dynamics with many seeds at several temperatures in one batch: fraction of runs that keep their bonds.

    The structure is relaxed with the model first, which defines equilibrium bond lengths. A run has failed if a bond is
    longer than twice or shorter than half its equilibrium length (checked every 10 fs; a hydrogen may move to another
    atom of the same element), or if forces are not finite.

    Args:
        atoms: initial structure of all runs.
        temperatures: K. seeds: runs at each. picoseconds: length of a run. timestep: fs. friction: 1/fs.
        data: frames of the same molecule, atoms in the same order; their bond lengths are compared with those of the
            surviving runs at each temperature, the first tenth left out.
        compile: see :class:`zoo.inference.potential.Potential`.
        progress: called with steps done and all.

    Returns:
        Plain data for ``stability`` of a card: settings, and for each temperature ``survived``, ``of``, ``lost`` (how
        many runs ended at a bond of each kind, or at ``"forces"`` that were not finite), ``first_failure_ps``,
        ``mean_temperature_K`` and per kind of bond mean and standard deviation in Å; with ``data`` also theirs, and
        the Wasserstein distance between the two distributions in Å.

    Raises:
        StructureError: the structure has no bonds, or the data are not of this structure.
    """
    start = relax(model, atoms, fmax=0.01, steps=1000, compile=compile)
    bonds = Bonds.of(start)
    if not bonds.kinds:
        raise StructureError("stability is about bonds, and no two atoms of the structure are bonded. "
                             "Fix: give a molecule or crystal with bonds.")
    known = _lengths_in(data, start, bonds)
    runs = [temperature for temperature in temperatures for _ in range(seeds)]
    steps, every = round(1000 * picoseconds / timestep), max(1, round(_EVERY_FS / timestep))
    dynamics = Dynamics(model, [start] * len(runs), ensemble="nvt", temperature=runs, timestep=timestep,
                        friction=friction, compile=compile)
    lengths, measured, sound = _follow(dynamics, bonds, steps, every, progress)
    at = {}
    for index, temperature in enumerate(temperatures):
        own = slice(index * seeds, (index + 1) * seeds)
        at[f"{temperature:g} K"] = _summary(bonds, known, lengths[own], measured[own], sound[own],
                                            every * timestep / 1000)
    return {
        "structure": atoms.get_chemical_formula(), "ensemble": "NVT, Langevin (BAOAB)", "timestep_fs": timestep,
        "friction_per_fs": friction, "length_ps": picoseconds, "dtype": str(model.dtype).removeprefix("torch."),
        "start_relaxed": bool(start.info["relax_converged"]),
        "criterion": f"no bond longer than {_TOO_LONG:g} or shorter than {_TOO_SHORT:g} times its equilibrium length",
        "at": at,
    }


def _follow(dynamics: Dynamics, bonds: Bonds, steps: int, every: int, progress: Callable[[int, int], None] | None
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bond lengths (R, T, M), temperatures (R, T), and number of records before each run failed (R,)."""
    count = dynamics.graph.num_graphs
    bonds = bonds.to(dynamics.graph.device)
    lengths, temperatures, sound = [], [], torch.zeros(count, dtype=torch.long, device=dynamics.graph.device)
    for _ in range(steps // every):
        dynamics.step(every)
        now = bonds.lengths(dynamics.pos.reshape(count, -1, 3))
        ratio = now / bonds.equilibrium
        kept = ((ratio < _TOO_LONG) & (ratio > _TOO_SHORT)).all(1)
        # A failed run is frozen: dense fragments would make the batch slow.
        dynamics.failed = dynamics.failed | ~kept
        sound += ~dynamics.failed
        lengths.append(now.cpu())
        temperatures.append(dynamics.temperature.cpu())
        if progress is not None:
            progress(dynamics.steps_done, steps)
        if bool(dynamics.failed.all()):
            break
    return torch.stack(lengths, 1).numpy(), torch.stack(temperatures, 1).numpy(), sound.cpu().numpy()


def _summary(bonds: Bonds, known: dict[str, np.ndarray], lengths: np.ndarray, temperatures: np.ndarray,
             sound: np.ndarray, record_ps: float) -> dict[str, Any]:
    records = lengths.shape[1]
    alive = sound == records
    skipped = records // 10
    result: dict[str, Any] = {
        "survived": int(alive.sum()), "of": len(alive),
        "lost": dict(sorted(Counter(_what_ended(bonds, lengths[r, sound[r]]) for r in np.flatnonzero(~alive)).items())),
        "first_failure_ps": None if alive.all() else round(float(sound.min() + 1) * record_ps, 4),
    }
    if not alive.any():
        return result
    result["mean_temperature_K"] = round(float(temperatures[alive, skipped:].mean()), 1)
    result["bonds"] = {
        kind: _compared(values, known.get(kind)) for kind, values in bonds.by_kind(lengths[alive, skipped:]).items()
    }
    return result


def _what_ended(bonds: Bonds, lengths: np.ndarray) -> str:
    """Cause of failure in the first failed record: kind of the most distorted bond, or ``"forces"``."""
    ratio = lengths / bonds.equilibrium.cpu().numpy()
    worst = int(np.abs(np.log(ratio)).argmax())
    return bonds.kinds[worst] if not _TOO_SHORT < ratio[worst] < _TOO_LONG else "forces"


def _compared(values: np.ndarray, known: np.ndarray | None) -> dict[str, float]:
    from scipy.stats import wasserstein_distance

    row = {"mean_A": round(float(values.mean()), 4), "std_A": round(float(values.std()), 4)}
    if known is not None:
        row |= {"data_mean_A": round(float(known.mean()), 4), "data_std_A": round(float(known.std()), 4),
                "distance_A": round(float(wasserstein_distance(values, known)), 4)}
    return row


def _lengths_in(data: Sequence[ase.Atoms], start: ase.Atoms, bonds: Bonds) -> dict[str, np.ndarray]:
    if not data:
        return {}
    for number, frame in enumerate(data):
        if not np.array_equal(frame.numbers, start.numbers):
            raise StructureError(f"frame {number} of the data is {frame.get_chemical_formula()} or has its atoms in "
                                 f"another order than the structure, {start.get_chemical_formula()}. "
                                 "Fix: give frames of the same molecule with its atoms in the same order.")
    pos: Tensor = torch.from_numpy(np.stack([frame.positions for frame in data]))
    return bonds.by_kind(bonds.lengths(pos).numpy())
