"""Nudged elastic band: the path of least energy between two structures, all images of all paths in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

from zoo.errors import StructureError, ZooError
from zoo.graph.graph import Graph
from zoo.inference.potential import Potential, PotentialResult
from zoo.model.model import Model
from zoo.simulation.batch import batch_of, free_atoms

__all__ = ["ReactionPath", "reaction_path"]

_DT, _DT_MAX, _MAX_STEP = 0.1, 1.0, 0.2
_N_MIN, _GROW, _SHRINK, _ALPHA, _FADE = 5, 1.1, 0.5, 0.1, 0.99
_CLIMB_BELOW = 10.0
"""Times ``fmax``: the highest image begins to climb when the forces on the band have come down to this."""


@dataclass(frozen=True)
class ReactionPath:
    """A band of images from one minimum to another.

    Attributes:
        images: with both ends; each has its energy and forces in a ``SinglePointCalculator``.
        converged: whether the largest force on the band is below ``fmax``.
        steps: that were taken.
        fmax: eV/Å, largest force on the band at the end, without the component along it (with it for the climbing
            image).
    """

    images: list[ase.Atoms]
    converged: bool
    steps: int
    fmax: float

    @property
    def energies(self) -> np.ndarray:
        """(I,) eV."""
        return np.array([atoms.calc.results["energy"] for atoms in self.images])

    @property
    def coordinate(self) -> np.ndarray:
        """(I,) Å: length of the path up to each image, as the norm of all displacements."""
        pos = np.stack([atoms.positions for atoms in self.images])
        return np.append(0.0, np.cumsum(np.sqrt((np.diff(pos, axis=0) ** 2).sum((1, 2)))))

    @property
    def highest(self) -> int:
        """Index of the image of highest energy, the saddle point of a converged path."""
        return int(self.energies.argmax())

    @property
    def barrier(self) -> float:
        """eV, of the highest image above the first one."""
        return float(self.energies.max() - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """eV, of the highest image above the last one."""
        return float(self.energies.max() - self.energies[-1])


def reaction_path(
    model: Model,
    start: ase.Atoms | Sequence[ase.Atoms],
    end: ase.Atoms | Sequence[ase.Atoms],
    *,
    images: int = 9,
    spring: float = 0.1,
    climb: bool = True,
    fmax: float = 0.05,
    steps: int = 500,
    skin: float = 0.5,
    compile: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> Any:
    """The path of least energy between minima, by a nudged elastic band with improved tangents and a climbing image.

    Henkelman & Jónsson 2000, J. Chem. Phys. 113, 9978 (tangents, springs); Henkelman, Uberuaga & Jónsson 2000,
    J. Chem. Phys. 113, 9901 (climbing image). The first band is the image-dependent pair potential's (Smidstrup et al.
    2014, J. Chem. Phys. 140, 214106) as ASE makes it. FIRE moves each band on its own; all images are evaluated
    together.

    Args:
        start, end: minima (relax them first) with the same atoms in the same order, cell and constraints; one of each,
            or lists of equal length for several paths.
        images: number of images with the ends.
        spring: eV/Å².
        climb: let the highest image climb to the saddle point.
        fmax: eV/Å; a band whose largest force is below has converged.
        steps: largest number of steps.
        skin, compile: see :class:`zoo.inference.potential.Potential`.
        progress: called after each step with the number of converged paths, of all paths, and the largest force.

    Returns:
        A :class:`ReactionPath`, or a list of them for lists.

    Raises:
        StructureError: what the model cannot take, also along the first band; ends that do not belong together; forces
            that are not finite.
        ZooError: less than three images, or another option without sense.
    """
    if images < 3 or steps < 0 or not 0 < fmax < math.inf or not 0 < spring < math.inf:
        raise ZooError(f"{images} images, spring {spring} eV/Å², fmax {fmax} eV/Å, {steps} steps. Fix: give at least 3 "
                       "images, a positive spring and fmax, and steps from 0 on.")
    single = isinstance(start, ase.Atoms)
    pairs = [(start, end)] if isinstance(start, ase.Atoms) else list(zip(start, end, strict=False))
    if isinstance(start, ase.Atoms) != isinstance(end, ase.Atoms) or not (single or len(start) == len(end) > 0):
        raise ZooError("start and end are not as many. Fix: give two structures, or two lists of equal length.")
    frames = [_first_band(first, last, images, "the path" if single else f"path {k}")
              for k, (first, last) in enumerate(pairs)]
    potential = Potential(model, skin=skin, compile=compile)
    ends = [atoms for band in frames for atoms in (band[0], band[-1])]
    at_ends = potential(batch_of(model, ends))
    potential = Potential(model, skin=skin, compile=compile)
    inner = [atoms for band in frames for atoms in band[1:-1]]
    graph = batch_of(model, inner)
    free = free_atoms(inner).to(graph.device)
    bands, offset = [], 0
    for k, band in enumerate(frames):
        size = len(band[0]) * (images - 2)
        pos = graph.pos[offset : offset + size].reshape(images - 2, -1, 3)
        where = [torch.as_tensor(band[at].positions).to(pos) for at in (0, -1)]
        bands.append(_Band(pos, where[0], where[1], at_ends.energy[2 * k], at_ends.energy[2 * k + 1],
                           free[offset : offset + len(band[0])][:, None], spring))
        offset += size
    _run(bands, graph, potential, climb, fmax, steps, progress)
    paths = _results(frames, bands, at_ends, fmax)
    return paths[0] if single else paths


def _first_band(start: ase.Atoms, end: ase.Atoms, images: int, name: str) -> list[ase.Atoms]:
    from ase.mep import NEB

    if list(start.numbers) != list(end.numbers):
        raise StructureError(f"{name}: start is {start.symbols} and end {end.symbols}. "
                             "Fix: give both with the same atoms in the same order.")
    if not np.allclose(start.cell, end.cell) or list(start.pbc) != list(end.pbc):
        raise StructureError(f"{name}: start and end have different cells. Fix: relax both in one cell.")
    band = [start.copy() for _ in range(images - 1)] + [end.copy()]
    if start.pbc.any():  # the end at its nearest image, so that positions along the path differ by what atoms move
        from ase.geometry import find_mic

        moves, _ = find_mic(end.positions - start.positions, start.cell, start.pbc)
        band[-1].set_positions(start.positions + moves, apply_constraint=False)
    if np.abs(band[-1].positions - start.positions).max() < 1e-3:
        raise StructureError(f"{name}: start and end are the same structure. Fix: give two different minima.")
    NEB(band, method="improvedtangent").interpolate(method="idpp", apply_constraint=False)
    return band


@dataclass
class _Band:
    """The images of one path between its ends (I, n, 3), and its FIRE variables."""

    pos: Tensor
    first: Tensor  # (n, 3)
    last: Tensor
    first_energy: Tensor
    last_energy: Tensor
    free: Tensor  # (n, 1)
    spring: float
    velocity: Tensor = field(init=False)
    energy: Tensor = field(init=False)  # (I,)
    forces: Tensor = field(init=False)  # (I, n, 3) of the model
    dt: float = _DT
    alpha: float = _ALPHA
    uphill_free: int = 0
    climbing: bool = False
    largest: float = math.inf
    steps: int = 0

    def __post_init__(self) -> None:
        self.velocity = torch.zeros_like(self.pos)

    def band_force(self) -> Tensor:
        """(I, n, 3): the model's force across the path, the springs' along it; of the climbing image, up the path."""
        pos = torch.cat([self.first[None], self.pos, self.last[None]])
        energy = torch.cat([self.first_energy[None], self.energy, self.last_energy[None]])
        before, after = pos[1:-1] - pos[:-2], pos[2:] - pos[1:-1]
        tangent = _tangents(before, after, energy)
        along = (self.forces * tangent).sum((1, 2), keepdim=True)
        lengths = [step.square().sum((1, 2), keepdim=True).sqrt() for step in (before, after)]
        force = self.forces - along * tangent + self.spring * (lengths[1] - lengths[0]) * tangent
        if self.climbing:
            top = int(self.energy.argmax())
            force[top] = self.forces[top] - 2 * along[top] * tangent[top]
        return force * self.free

    def move(self, force: Tensor) -> None:
        """One step of FIRE (Bitzek et al. 2006), as ASE has it."""
        power = float((force * self.velocity).sum())
        speed, norm = float(self.velocity.norm()), float(force.norm())
        if power > 0:
            mixed = (self.alpha * speed / norm) * force
            self.velocity = (1 - self.alpha) * self.velocity + mixed
            if self.uphill_free > _N_MIN:
                self.dt, self.alpha = min(self.dt * _GROW, _DT_MAX), self.alpha * _FADE
            self.uphill_free += 1
        elif speed > 0:
            self.velocity = torch.zeros_like(self.velocity)
            self.dt, self.alpha, self.uphill_free = self.dt * _SHRINK, _ALPHA, 0
        self.velocity = self.velocity + self.dt * force
        step = self.dt * self.velocity
        length = float(step.norm())
        self.pos = self.pos + (step * (_MAX_STEP / length) if length > _MAX_STEP else step)
        self.steps += 1


def _tangents(before: Tensor, after: Tensor, energy: Tensor) -> Tensor:
    """(I, n, 3) unit vectors along the path: towards the higher neighbour, mixed at maxima and minima of the path."""
    here, lower, upper = energy[1:-1], energy[:-2], energy[2:]
    up, down = (upper - here).abs(), (lower - here).abs()
    high, low = torch.maximum(up, down), torch.minimum(up, down)
    rising, falling = (upper > here) & (here > lower), (upper < here) & (here < lower)
    weight_after = torch.where(rising, 1.0, torch.where(falling, 0.0, torch.where(upper > lower, high, low)))
    weight_before = torch.where(rising, 0.0, torch.where(falling, 1.0, torch.where(upper > lower, low, high)))
    tangent = weight_after[:, None, None] * after + weight_before[:, None, None] * before
    return tangent / tangent.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-12)


def _run(bands: list[_Band], graph: Graph, potential: Potential, climb: bool, fmax: float, steps: int,
         progress: Callable[[int, int, float], None] | None) -> None:
    """Move all bands until each has converged; those that have stay in the batch where they are."""
    moving = list(bands)
    for step in range(steps + 1):
        out, offset, image = potential(graph), 0, 0
        for band in bands:
            size, count = band.pos.shape[0] * band.pos.shape[1], len(band.pos)
            band.energy = out.energy[image : image + count]
            band.forces = out.forces[offset : offset + size].reshape(band.pos.shape)
            offset, image = offset + size, image + count
        if not bool(out.forces.isfinite().all() & out.energy.isfinite().all()):
            raise StructureError(f"energy or forces of an image are not finite after {step} steps. Fix: relax both "
                                 "ends first, use more images, or a model that was trained on such structures.")
        left = []
        for band in moving:
            force = band.band_force()
            band.largest = float(force.norm(dim=2).max())
            if climb and not band.climbing and band.largest < _CLIMB_BELOW * fmax:
                band.climbing = True
                force = band.band_force()
                band.largest = float(force.norm(dim=2).max())
            if (band.largest >= fmax or (climb and not band.climbing)) and step < steps:
                band.move(force)
                left.append(band)
        moving = left
        if progress is not None:
            progress(len(bands) - len(moving), len(bands), max(band.largest for band in bands))
        if not moving:
            return
        graph = graph.replace(pos=torch.cat([band.pos.reshape(-1, 3) for band in bands]))


def _results(frames: list[list[ase.Atoms]], bands: list[_Band], at_ends: PotentialResult,
             fmax: float) -> list[ReactionPath]:
    paths, start = [], 0
    for k, (images, band) in enumerate(zip(frames, bands)):
        n = len(images[0])
        forces = [at_ends.forces[start : start + n], *band.forces, at_ends.forces[start + n : start + 2 * n]]
        energies = [at_ends.energy[2 * k], *band.energy, at_ends.energy[2 * k + 1]]
        for atoms, pos in zip(images[1:-1], band.pos):
            atoms.set_positions(pos.cpu().numpy(), apply_constraint=False)
        for atoms, energy, force in zip(images, energies, forces):
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=force.cpu().numpy().copy())
        paths.append(ReactionPath(images, band.largest < fmax, band.steps, band.largest))
        start += 2 * n
    return paths
