"""Molecular dynamics of many structures in one batch: velocity Verlet (NVE) and Langevin BAOAB (NVT)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import ase
import ase.units
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

from zoo.errors import ZooError
from zoo.inference.potential import Potential, PotentialResult
from zoo.model.checks import closest_allowed, too_close
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits
from zoo.simulation.batch import batch_of, free_atoms
from zoo.simulation.noise import Noise

__all__ = ["Dynamics", "Ensemble"]

Ensemble = Literal["nve", "nvt"]

# Beyond these no number of a run means anything, see Dynamics.
_LARGEST_STEP, _FARTHEST, _HOTTEST = 2.0, 1e6, 1e5  # Å, Å, K
_SELDOM = 10  # steps between two looks at temperature and distance


class Dynamics:
    """Molecular dynamics of independent structures, computed in one batch.

    NVE is velocity Verlet. NVT is Langevin dynamics with the BAOAB splitting (Leimkuhler & Matthews 2013, Appl. Math.
    Res. Express 2013, 34). Its averages over positions have an error of second order in the time step, and none in a
    harmonic potential; those over velocities, such as the temperature, have one of second order.

    The random numbers of a structure depend only on its own seed and the step, not on the other structures of the batch
    or on restarts. A structure that blows up is marked in :attr:`failed` and stays where it was before; the others
    continue. It blows up if its energy or forces are not finite, no structure can have its energy (see
    :class:`zoo.model.plausible.EnergyLimits`), an atom moves by more than 2 Å in one step or is 10⁶ Å from its start,
    two atoms are closer than any atoms come, or its temperature exceeds 10⁵ K and ten times the one asked
    for. Atoms fixed by ``FixAtoms`` do not move.

    Args:
        model: a model with an energy target.
        structures: where they start; their momenta are used if ``temperature`` is absent.
        timestep: fs.
        ensemble: ``"nve"`` or ``"nvt"``.
        temperature: K, one for all or one for each structure; required for NVT. Initial velocities are drawn at this
            temperature, with the centre of mass at rest. NVE without it uses the momenta of the structures.
        friction: 1/fs, Langevin only.
        seed: one for all (structure b gets ``seed + b``), or one for each.
        skin: of the Verlet list, Å.
        compile: see :class:`zoo.inference.potential.Potential`.

    Raises:
        StructureError: what the model cannot take, see :func:`zoo.inference.prediction.predict`.
        ZooError: an invalid option.

    Attributes:
        steps_done: steps since the start.
        pos: (N, 3) Å. velocity: (N, 3) Å/fs. now: energies (eV) and forces (eV/Å) at ``pos``.
        failed: (B,) bool. reasons: number of a failed structure → what happened to it.
        heat: (B,) eV, energy added by the thermostat.
    """

    def __init__(
        self,
        model: Model,
        structures: ase.Atoms | Sequence[ase.Atoms],
        *,
        timestep: float = 0.5,
        ensemble: Ensemble | str = "nve",
        temperature: float | Sequence[float] | None = None,
        friction: float = 0.01,
        seed: int | Sequence[int] = 0,
        skin: float = 0.5,
        compile: bool = False,
    ) -> None:
        frames = [structures] if isinstance(structures, ase.Atoms) else list(structures)
        _check(frames, timestep, ensemble, temperature, friction)
        self.structures = [atoms.copy() for atoms in frames]
        self.ensemble, self.timestep, self.friction = ensemble, float(timestep), float(friction)
        self._evaluate = Potential(model, skin=skin, compile=compile)
        self.graph = batch_of(model, frames)
        device, count = self.graph.device, len(frames)
        seeds = [seed + b for b in range(count)] if isinstance(seed, int) else list(seed)
        if len(seeds) != count:
            raise ZooError(f"{len(seeds)} seeds for {count} structures. Fix: give one seed, or one for each.")
        self.seeds = seeds
        self._mobile = free_atoms(frames).to(device)[:, None]
        masses = torch.from_numpy(np.concatenate([atoms.get_masses() for atoms in frames]))
        self._mass = masses.to(device)[:, None]
        self._noise = Noise(seeds, self.graph.ptr, device)
        self.steps_done = 0
        self.failed = torch.zeros(count, dtype=torch.bool, device=device)
        self.reasons: dict[int, str] = {}
        self._start, self._closest = self.graph.pos, closest_allowed(self.graph.z)
        self._lowest, self._highest = EnergyLimits.of(model).of_batch(self.graph).unbind(1)
        self.heat = torch.zeros(count, dtype=torch.float64, device=device)
        self.target = None if temperature is None else _each(temperature, count).to(device)
        if self.target is None:
            self.velocity = _given_velocities(frames).to(device) * self._mobile
        else:
            self.velocity = self._drawn_velocities(self.target)
        self.now = self._evaluate(self.graph)
        self._hold_failed(self.graph.pos)
        self._hottest = _HOTTEST if self.target is None else (10 * self.target).clamp(min=_HOTTEST)

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def pos(self) -> Tensor:
        return self.graph.pos

    @property
    def time(self) -> float:
        """Time since the start, fs."""
        return self.steps_done * self.timestep

    @property
    def potential(self) -> Tensor:
        """(B,) eV."""
        return self.now.energy

    @property
    def kinetic(self) -> Tensor:
        """(B,) eV."""
        per_atom = (0.5 * self._mass * self.velocity.square()).sum(1) / ase.units.fs**2
        return per_atom.new_zeros(self.graph.num_graphs).index_add_(0, self.graph.batch, per_atom)

    @property
    def total(self) -> Tensor:
        """(B,) eV."""
        return self.potential + self.kinetic

    @property
    def conserved(self) -> Tensor:
        """(B,) eV: total energy minus the heat from the thermostat; constant in the limit of a small time step."""
        return self.total - self.heat

    @property
    def temperature(self) -> Tensor:
        """(B,) K: 2 E_kin / (n k_B), with n = 3 per mobile atom, minus 3 in NVE if the centre of mass is at rest."""
        mobile = self._mobile[:, 0].to(self.graph.dtype)
        n = 3 * mobile.new_zeros(self.graph.num_graphs).index_add_(0, self.graph.batch, mobile)
        if self.ensemble == "nve" and bool(self._mobile.all()):
            n = (n - 3).clamp(min=1)
        return 2 * self.kinetic / (n.clamp(min=1) * ase.units.kB)

    def atoms(self) -> list[ase.Atoms]:
        """Copies of the structures as they are now, with momenta, and energy and forces as a calculator."""
        bounds = self.graph.ptr.tolist()
        pos, velocity = self.pos.cpu().numpy(), self.velocity.cpu().numpy() / ase.units.fs
        energy, forces = self.now.energy.tolist(), self.now.forces.cpu().numpy()
        out = []
        for b, start in enumerate(self.structures):
            atoms, own = start.copy(), slice(bounds[b], bounds[b + 1])
            atoms.set_positions(pos[own], apply_constraint=False)
            atoms.set_momenta(atoms.get_masses()[:, None] * velocity[own], apply_constraint=False)
            atoms.calc = SinglePointCalculator(atoms, energy=energy[b], forces=forces[own].copy())
            out.append(atoms)
        return out

    def state_dict(self) -> dict[str, np.ndarray]:
        """The exact state: with it, a new object made with the same arguments continues the run bit for bit."""
        return {
            "steps_done": np.array(self.steps_done), "pos": self.pos.cpu().numpy(),
            "velocity": self.velocity.cpu().numpy(), "failed": self.failed.cpu().numpy(),
            "heat": self.heat.cpu().numpy(),
        }

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from :meth:`state_dict`; raises ``ZooError`` if it belongs to other structures."""
        if state["pos"].shape != tuple(self.pos.shape):
            raise ZooError(f"a state of {state['pos'].shape[0]} atoms, and the structures have {self.pos.shape[0]}. "
                           "Fix: load it into dynamics of the structures it was written for.")
        device = self.graph.device
        self.steps_done = int(state["steps_done"])
        self.graph = self.graph.replace(pos=torch.as_tensor(state["pos"]).to(device))
        self.velocity = torch.as_tensor(state["velocity"]).to(device)
        self.failed = torch.as_tensor(state["failed"]).to(device)
        self.heat = torch.as_tensor(state["heat"]).to(device)
        self.now = self._evaluate(self.graph)

    # -- motion ------------------------------------------------------------------------------------------------

    def step(self, count: int = 1) -> None:
        """Move all structures by ``count`` time steps."""
        for _ in range(count):
            before = self.graph.pos
            if self.ensemble == "nve":
                self._kick()
                self._drift(self.timestep)
            else:
                self._kick()
                self._drift(self.timestep / 2)
                self._thermalise()
                self._drift(self.timestep / 2)
            self._hold_runaways(before)
            self.now = self._evaluate(self.graph)
            self._hold_failed(before)
            self._kick()
            if self.steps_done % _SELDOM == 0:
                self._fail(self.temperature > self._hottest, f"its temperature exceeds {_HOTTEST:g} K")
                path = (self.graph.pos - self._start).square().sum(1)
                self._fail(self._any(path > _FARTHEST**2), f"an atom is more than {_FARTHEST:g} Å from its start")
            self.steps_done += 1

    def run(self, steps: int, *, every: int = 1) -> list[list[ase.Atoms]]:
        """Run ``steps`` steps; one trajectory per structure, with a frame after every ``every`` steps.

        Raises:
            ZooError: a negative number of steps, or no positive number between two frames.
        """
        if steps < 0 or every < 1:
            raise ZooError(f"{steps} steps with a frame every {every}: no such run. "
                           "Fix: give steps from 0 and every from 1 on.")
        frames = []
        for _ in range(steps // every):
            self.step(every)
            frames.append(self.atoms())
        self.step(steps % every)
        return [list(trajectory) for trajectory in zip(*frames)] or [[] for _ in self.structures]

    def _kick(self) -> None:
        """Update velocities by half a time step of acceleration."""
        change = self.now.forces / self._mass * (0.5 * self.timestep * ase.units.fs**2)
        self.velocity = self.velocity + change * self._mobile

    def _drift(self, time: float) -> None:
        self.graph = self.graph.replace(pos=self.graph.pos + time * self.velocity)

    def _thermalise(self) -> None:
        """The exact solution of the Ornstein–Uhlenbeck part over one time step."""
        assert self.target is not None
        damping = float(np.exp(-self.friction * self.timestep))
        spread = self._thermal_speed(self.target) * float(np.sqrt(1 - damping**2))
        random = spread * self._noise.at(self.steps_done)
        # Failed structures and fixed atoms stay at rest: the thermostat adds no heat to them.
        moves = self._mobile & ~self.failed[self.graph.batch][:, None]
        before = self.kinetic
        self.velocity = torch.where(moves, damping * self.velocity + random, 0.0)
        self.heat = self.heat + self.kinetic - before

    def _thermal_speed(self, temperature: Tensor) -> Tensor:
        """(N, 1) Å/fs: √(kT/m)."""
        energy = ase.units.kB * temperature.index_select(0, self.graph.batch)[:, None]
        return (energy / self._mass).sqrt() * ase.units.fs

    def _drawn_velocities(self, temperature: Tensor) -> Tensor:
        """Maxwell–Boltzmann velocities (N, 3) in Å/fs; the centre of mass is at rest unless atoms are fixed."""
        velocity = self._thermal_speed(temperature) * self._noise.initial() * self._mobile
        if not bool(self._mobile.all()):
            return velocity
        batch, count = self.graph.batch, self.graph.num_graphs
        momentum = velocity.new_zeros(count, 3).index_add_(0, batch, self._mass * velocity)
        mass = velocity.new_zeros(count, 1).index_add_(0, batch, self._mass)
        return velocity - (momentum / mass)[batch]

    def _hold_runaways(self, before: Tensor) -> None:
        """Stop structures before they are evaluated if an atom has moved further than any integrator can follow."""
        pos = self.graph.pos
        followed = (pos - before).square().sum(1) < _LARGEST_STEP**2  # false for NaN
        if bool(followed.all()):
            return
        self._fail(self._any(~followed), f"an atom moved by more than {_LARGEST_STEP:g} Å in one step")
        rows = self.failed[self.graph.batch][:, None]
        self.graph = self.graph.replace(pos=torch.where(rows, before, pos))

    def _hold_failed(self, before: Tensor) -> None:
        """Mark structures that the model gives no sound forces for; reset failed ones to ``before``, at rest, forces
        zero.
        """
        energy, forces = self.now.energy, self.now.forces
        possible = (energy >= self._lowest) & (energy <= self._highest)  # false for NaN
        if not bool(forces.isfinite().all() & possible.all()):
            self._fail(self._any(~forces.isfinite().all(1)) | ~energy.isfinite(), "its energy or forces are not finite")
            self._fail(~possible, "its energy is one that no structure has")
        if self._evaluate.list.shortest < self._closest:
            edges = self._evaluate.list.edges(self.graph)
            near = torch.zeros_like(self.graph.batch, dtype=torch.bool)
            near[edges.target[too_close(edges)[0]]] = True
            self._fail(self._any(near), "two atoms are closer than any atoms come")
        if not bool(self.failed.any()):
            return
        rows = self.failed[self.graph.batch][:, None]
        self.graph = self.graph.replace(pos=torch.where(rows, before, self.graph.pos))
        self.velocity = torch.where(rows, 0.0, self.velocity)
        self.now = PotentialResult(self.now.energy, torch.where(rows, 0.0, self.now.forces))

    def _any(self, atoms: Tensor) -> Tensor:
        """(B,) bool: whether any of its atoms is marked."""
        marked = self.graph.batch[atoms]
        return self.failed.new_zeros(self.graph.num_graphs).index_put_((marked,), atoms.new_tensor(True))

    def _fail(self, structures: Tensor, reason: str) -> None:
        """Mark structures (B,) bool as failed."""
        fresh = structures & ~self.failed
        if bool(fresh.any()):
            self.failed = self.failed | fresh
            self.velocity = torch.where(self.failed[self.graph.batch][:, None], 0.0, self.velocity)
            self.reasons |= dict.fromkeys(torch.nonzero(fresh)[:, 0].tolist(), f"{reason} (step {self.steps_done})")


def _check(frames: list[ase.Atoms], timestep: float, ensemble: str, temperature: Any, friction: float) -> None:
    if not frames:
        raise ZooError("no structure to move. Fix: give one ase.Atoms or a list of them.")
    if ensemble not in ("nve", "nvt"):
        raise ZooError(f"unknown ensemble {ensemble!r}. Fix: choose 'nve' or 'nvt'.")
    if not 0 < timestep < np.inf:
        raise ZooError(f"timestep {timestep} fs is not positive and finite. Fix: give a positive one, such as 0.5.")
    if ensemble == "nvt" and temperature is None:
        raise ZooError("NVT needs a temperature. Fix: give temperature in K.")
    if temperature is not None and not (np.isfinite(temperature).all() and np.min(temperature) >= 0):
        raise ZooError(f"temperature {temperature} K is negative or not finite. Fix: give one from 0 K on.")
    if ensemble == "nvt" and not friction > 0:
        raise ZooError(f"friction {friction} /fs: Langevin dynamics needs a positive one. "
                       "Fix: give a positive one, or choose ensemble 'nve'.")


def _each(temperature: float | Sequence[float], count: int) -> Tensor:
    values = torch.as_tensor(temperature, dtype=torch.float64)
    if values.ndim and len(values) != count:
        raise ZooError(f"{len(values)} temperatures for {count} structures. Fix: give one, or one for each.")
    return values.expand(count).clone()


def _given_velocities(frames: Sequence[ase.Atoms]) -> Tensor:
    return torch.from_numpy(np.concatenate([atoms.get_velocities() for atoms in frames])) * ase.units.fs
