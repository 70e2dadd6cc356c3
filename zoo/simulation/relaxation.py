"""Relaxation of many structures in one batch with FIRE; each structure has its own time step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import ase
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.errors import StructureError, ZooError
from zoo.graph.batching import cut, select
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.inference.potential import Potential, PotentialResult
from zoo.model.checks import MIN_DISTANCE
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits, check_energy
from zoo.model.stress import why_no_stress
from zoo.simulation.batch import batch_of, free_atoms

__all__ = ["relax"]

_DT, _DT_MAX, _MAX_STEP = 0.1, 1.0, 0.2
_N_MIN, _GROW, _SHRINK, _ALPHA, _FADE = 5, 1.1, 0.5, 0.1, 0.99
_MAX_ATOMS = 4096
_SWELL = 8.0  # times that a cell may shrink or grow


def relax(
    model: Model,
    structures: ase.Atoms | Sequence[ase.Atoms],
    *,
    fmax: float = 0.05,
    steps: int = 500,
    cell: bool = False,
    skin: float = 0.5,
    max_atoms: int = _MAX_ATOMS,
    compile: bool = False,
    on_error: Literal["raise", "keep"] = "raise",
    progress: Callable[[int, int, float], None] | None = None,
) -> Any:
    """Relax structures with FIRE (Bitzek et al. 2006) in one batch; converged structures leave the batch.

    The steps of each structure are those of ASE's ``FIRE``; with ``cell=True``, of ``FIRE`` on a ``UnitCellFilter``.
    Of a slab or wire only the periodic directions are relaxed, as with a ``mask`` in ASE; a cell vector along another
    direction keeps its component out of them, and may be absent.

    Args:
        fmax: convergence criterion for the norm of every force, eV/Å; with ``cell``, also for every row of virial /
            number of atoms, eV.
        steps: maximum number of steps.
        cell: also relax the cell, to zero stress along its periodic directions.
        max_atoms: maximum number of atoms in one batch.
        compile: see :class:`zoo.inference.potential.Potential`.
        on_error: ``"keep"`` returns the :class:`~zoo.errors.StructureError` of a structure that the model cannot take,
            or whose energy or forces are not finite or beyond anything they can be, in its place and continues with
            the others.
        progress: called after each step with the number of converged structures, of all structures, and the largest
            force.

    Returns:
        Relaxed copies in the same order (one Atoms for one Atoms). Each has energy and forces (and stress) in a
        ``SinglePointCalculator``, and ``relax_converged``, ``relax_steps``, ``relax_fmax`` in ``info``. A structure
        whose atoms collapsed onto each other, whose forces are not finite, or whose cell shrank or grew eightfold
        counts as not converged; it is returned as it was before that, and the others go on.

    Raises:
        StructureError: what the model cannot take; ``cell`` without a periodic direction.
        ZooError: ``fmax`` is not positive and finite, or ``steps`` is negative.
    """
    if not 0 < fmax < math.inf or steps < 0:
        raise ZooError(f"fmax is {fmax} eV/Å and steps {steps}. Fix: give a positive fmax, such as 0.05, and steps "
                       "from 0 on.")
    single = isinstance(structures, ase.Atoms)
    frames: list[ase.Atoms] = [structures] if isinstance(structures, ase.Atoms) else list(structures)
    results: dict[int, ase.Atoms | StructureError] = {}
    for index, atoms in enumerate(frames):
        try:
            _check(model, atoms, f"structure {index}" if len(frames) > 1 else "the structure", cell)
        except StructureError as error:
            if on_error == "raise":
                raise
            results[index] = error
    good = [index for index in range(len(frames)) if index not in results]
    potential = Potential(model, skin=skin, compile=compile) if good else None
    for rows in cut([len(frames[index]) for index in good], max_atoms):
        part = [good[row] for row in rows]

        def report(now: int, largest: float, before: int = len(results)) -> None:
            if progress is not None:
                progress(before + now, len(frames), largest)

        assert potential is not None
        results |= zip(part, _relax_batch(model, potential, [frames[i] for i in part], fmax, steps, cell, report))
    relaxed = [results[index] for index in range(len(frames))]
    if on_error == "keep":
        relaxed = [_sound(model, atoms) for atoms in relaxed]
    return relaxed[0] if single else relaxed


def _check(model: Model, atoms: ase.Atoms, name: str, cell: bool) -> None:
    batch_of(model, [atoms], name=name)
    free_atoms([atoms], name=name)
    if cell and not atoms.pbc.any():
        raise StructureError(f"{name} has no periodic direction, and so no cell to relax. "
                             "Fix: set atoms.cell and atoms.pbc, or leave out cell=True.")


def _sound(model: Model, result: ase.Atoms | StructureError) -> ase.Atoms | StructureError:
    """The structure, or an error in its place if it was lost on the way."""
    if isinstance(result, StructureError):
        return result
    held = result.calc.results
    if np.isfinite(held["energy"]) and np.isfinite(held["forces"]).all() and np.isfinite(result.positions).all():
        try:
            check_energy(held["energy"], EnergyLimits.of(model).of_atoms(result.numbers), "the relaxation")
        except StructureError as error:
            return error
        return result
    return StructureError(f"the relaxation blew up: energy or forces are not finite after {result.info['relax_steps']} "
                          "steps. Fix: start from a better geometry, or use a model that was trained on such "
                          "structures.")


@dataclass
class _FireState:
    """FIRE variables of the structures still in the batch."""

    which: Tensor  # (B,) index in the list of structures
    reference: Tensor  # (B, 3, 3) cell at the start
    strain: Tensor  # (B, 3, 3) deformation gradient F; cell = cell₀ Fᵀ
    plane: Tensor  # (B, 3, 3) projector onto the periodic lattice vectors, which alone are relaxed
    velocity: Tensor  # (N, 3)
    cell_velocity: Tensor  # (B, 3, 3)
    dt: Tensor  # (B,)
    alpha: Tensor  # (B,)
    uphill_free: Tensor  # (B,) steps since the power was last negative


def _relax_batch(model: Model, potential: Potential, frames: list[ase.Atoms], fmax: float, steps: int, cell: bool,
                 report: Callable[[int, float], None]) -> list[ase.Atoms]:
    graph = batch_of(model, frames)
    free = free_atoms(frames).to(graph.device)[:, None]
    state = _start(graph)
    results: list[ase.Atoms | None] = [None] * len(frames)
    for step in range(steps + 1):
        now = potential(graph, stress=cell)
        force = torch.where(free, now.forces, 0.0)
        force, cell_force = _generalised(force, now, graph, state) if cell else (force, torch.zeros_like(state.strain))
        largest = _largest(force, graph)
        if cell:
            largest = torch.maximum(largest, cell_force.norm(dim=2).max(1).values)
        # A structure with non-finite forces cannot converge: it leaves the batch and is marked as not converged.
        leave = (largest < fmax) | ~largest.isfinite() | ~now.energy.isfinite() | (step == steps)
        computed, places, rows = graph, state.which.tolist(), torch.nonzero(~leave)[:, 0]
        gone = torch.nonzero(leave)[:, 0].tolist()
        if gone:
            graph, state, free, force, cell_force = _remaining(graph, state, free, force, cell_force, ~leave)
        if len(rows):
            graph = _fire(graph, state, force, cell_force, cell)
            lost = _lost(graph, state)
            if bool(lost.any()):
                gone += rows[lost].tolist()
                rows = rows[~lost]
                graph, state, free, force, cell_force = _remaining(graph, state, free, force, cell_force, ~lost)
        for b in gone:
            place = places[b]
            results[place] = _result(frames[place], computed, now, b, step, float(largest[b]), fmax, cell)
        report(len(frames) - len(rows), float(largest[rows].max()) if len(rows) else 0.0)
        if not len(rows):
            break
    return [atoms for atoms in results if atoms is not None]


def _start(graph: Graph) -> _FireState:
    b = graph.num_graphs
    eye = torch.eye(3, dtype=graph.dtype, device=graph.device).expand(b, 3, 3).clone()
    ones = graph.pos.new_ones(b)
    return _FireState(
        which=torch.arange(b, device=graph.device),
        reference=eye if graph.cell is None else graph.cell.clone(),
        strain=eye.clone(),
        plane=eye.clone() if graph.cell is None or graph.pbc is None else _plane(graph.cell, graph.pbc),
        velocity=torch.zeros_like(graph.pos),
        cell_velocity=torch.zeros_like(eye),
        dt=_DT * ones,
        alpha=_ALPHA * ones,
        uphill_free=torch.zeros(b, dtype=torch.long, device=graph.device),
    )


def _plane(cell: Tensor, pbc: Tensor) -> Tensor:
    """(B, 3, 3) projectors onto the span of the periodic lattice vectors."""
    vectors = cell * pbc[:, :, None]
    plane = torch.linalg.pinv(vectors, rtol=1e-10) @ vectors
    # Exact for crystals, whose steps are those of ASE.
    return torch.where(pbc.all(1)[:, None, None], torch.eye(3, dtype=cell.dtype, device=cell.device), plane)


def _generalised(force: Tensor, now: PotentialResult, graph: Graph, state: _FireState) -> tuple[Tensor, Tensor]:
    """Forces on the undeformed positions, and on n·F with n the number of atoms (Tadmor et al. 1999, as in ASE)."""
    n_atoms = graph.ptr.diff().to(graph.dtype)[:, None, None]
    virial = -torch.linalg.det(graph.cell).abs()[:, None, None] * now.stress
    cell_force = torch.linalg.solve(state.strain, virial.transpose(1, 2)).transpose(1, 2) / n_atoms
    cell_force = state.plane @ cell_force @ state.plane
    return torch.einsum("nd,ndk->nk", force, state.strain[graph.batch]), cell_force


def _lost(graph: Graph, state: _FireState) -> Tensor:
    """(B,) bool: whether a structure has left all reason, so that no neighbour list can or should be made of it."""
    volume = torch.linalg.det(state.strain)
    fine = (volume > 1 / _SWELL) & (volume < _SWELL)
    wild = ~graph.pos.isfinite().all(1)
    return ~fine | (torch.zeros_like(volume).index_add_(0, graph.batch, wild.to(volume)) > 0)


def _largest(force: Tensor, graph: Graph) -> Tensor:
    """(B,) largest norm of any force of each structure."""
    norms = force.norm(dim=1).nan_to_num(nan=torch.inf)
    return norms.new_zeros(graph.num_graphs).scatter_reduce_(0, graph.batch, norms, "amax")


def _fire(graph: Graph, state: _FireState, force: Tensor, cell_force: Tensor, cell: bool) -> Graph:
    """One step of FIRE: updates ``state`` in place and returns the moved graph."""
    batch = graph.batch

    def dot(a: Tensor, b: Tensor, a_cell: Tensor, b_cell: Tensor) -> Tensor:
        atoms = a.new_zeros(graph.num_graphs).index_add_(0, batch, (a * b).sum(1))
        return atoms + (a_cell * b_cell).sum((1, 2))

    power = dot(force, state.velocity, cell_force, state.cell_velocity)
    downhill = power > 0
    # In the first step all velocities are zero: time step and alpha stay as they are.
    rested = dot(state.velocity, state.velocity, state.cell_velocity, state.cell_velocity) == 0
    mix = torch.where(downhill, state.alpha, 0.0)
    speed = dot(state.velocity, state.velocity, state.cell_velocity, state.cell_velocity).sqrt()
    along = mix * speed / dot(force, force, cell_force, cell_force).sqrt()
    keep = torch.where(downhill, 1 - mix, 0.0)
    state.velocity = keep[batch, None] * state.velocity + along[batch, None] * force
    state.cell_velocity = keep[:, None, None] * state.cell_velocity + along[:, None, None] * cell_force
    quicker = downhill & (state.uphill_free > _N_MIN)
    slower = ~downhill & ~rested
    state.dt = torch.where(quicker, (state.dt * _GROW).clamp(max=_DT_MAX), torch.where(slower, state.dt * _SHRINK,
                                                                                      state.dt))
    state.alpha = torch.where(quicker, state.alpha * _FADE, torch.where(slower, _ALPHA, state.alpha))
    state.uphill_free = torch.where(downhill, state.uphill_free + 1, 0)
    state.velocity = state.velocity + state.dt[batch, None] * force
    state.cell_velocity = state.cell_velocity + state.dt[:, None, None] * cell_force
    move = state.dt[batch, None] * state.velocity
    move_cell = state.dt[:, None, None] * state.cell_velocity
    length = dot(move, move, move_cell, move_cell).sqrt()
    shorten = (_MAX_STEP / length).clamp(max=1.0)
    move, move_cell = move * shorten[batch, None], move_cell * shorten[:, None, None]
    if not cell:
        return graph.replace(pos=graph.pos + move)
    before, n_atoms = state.strain, graph.ptr.diff().to(graph.dtype)[:, None, None]
    state.strain = before + move_cell / n_atoms
    undeformed = torch.linalg.solve(before[batch], graph.pos[:, :, None])[:, :, 0] + move
    pos = torch.einsum("nd,nkd->nk", undeformed, state.strain[batch])
    return graph.replace(pos=pos, cell=state.reference @ state.strain.transpose(1, 2))


def _remaining(graph: Graph, state: _FireState, free: Tensor, force: Tensor, cell_force: Tensor, remains: Tensor
               ) -> tuple[Graph, _FireState, Tensor, Tensor, Tensor]:
    """Graph and FIRE variables of the structures that remain in the batch."""
    atoms = remains[graph.batch]
    kept = {f.name: getattr(state, f.name)[atoms if f.name == "velocity" else remains] for f in fields(state)}
    return select(graph, remains), replace(state, **kept), free[atoms], force[atoms], cell_force[remains]


def _result(given: ase.Atoms, graph: Graph, now: PotentialResult, b: int, step: int, largest: float, fmax: float,
            cell: bool) -> ase.Atoms:
    lo, hi = int(graph.ptr[b]), int(graph.ptr[b + 1])
    atoms = given.copy()
    if cell and graph.cell is not None:
        atoms.set_cell(graph.cell[b].cpu().numpy() * given.cell.any(1)[:, None])  # absent vectors stay absent
    atoms.set_positions(graph.pos[lo:hi].cpu().numpy(), apply_constraint=False)
    results: dict[str, Any] = {"energy": float(now.energy[b]), "forces": now.forces[lo:hi].cpu().numpy()}
    if now.stress is not None and why_no_stress(given) is None:
        results["stress"] = np.asarray(full_3x3_to_voigt_6_stress(now.stress[b].cpu().numpy()))
    atoms.calc = SinglePointCalculator(atoms, **results)
    converged = largest < fmax and bool(now.energy[b].isfinite()) and not _collapsed(atoms)
    atoms.info |= {"relax_converged": converged, "relax_steps": step, "relax_fmax": largest}
    return atoms


def _collapsed(atoms: ase.Atoms) -> bool:
    """Whether two nuclei coincide: models may have spurious minima at distances far below their training data."""
    return add_edges(Graph.from_atoms(atoms, dtype=torch.float64), MIN_DISTANCE).num_edges > 0
