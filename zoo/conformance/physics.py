"""Physics: derivatives against finite differences, smoothness, locality, periodic boundaries.

The file is long because one file holds one section of the report, and its checks share their measurements.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ase
import numpy as np
import torch
from torch import Tensor

from zoo.conformance import specimens
from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject, rms
from zoo.model.model import Model

__all__ = ["CHECKS"]

# Norms of feature vectors are strongly curved where they nearly vanish, which limits wide steps; energies far
# from the training data are large, and rounding limits narrower steps. A wrong derivative agrees at no step.
_STEPS = (1e-4, 2e-5, 4e-6)
_DERIVATIVE = 1e-5
_EXACT = 1e-9
_CROSSING = 1e-6
_DISPLACEMENTS = (0.001, 0.004)  # Å
_LARGEST_CHANGE = 0.05


def forces(subject: Subject) -> Iterator[Finding]:
    """Along random directions of all atoms at once, by central differences extrapolated to a vanishing step."""
    model = subject.energy_model
    for of, atoms in (("molecule", specimens.molecule(model.elements)), ("crystal", specimens.crystal(model.elements))):
        exact = _forces(subject, atoms)
        for direction in _directions(exact.shape, 2):
            slope = -float((exact * torch.from_numpy(direction)).sum())
            error = _off(subject, partial(_displaced, atoms, direction), slope)
            size = float(np.linalg.norm(direction)) * max(rms(exact), 1e-6 * _scale(model))
            yield below(error / size, _DERIVATIVE, of=of, dtype="float64")


def forces_float32(subject: Subject) -> Finding:
    atoms = specimens.molecule(subject.model.elements)
    exact = _forces(subject, atoms)
    single = copy.deepcopy(subject.energy_model).float()
    with torch.no_grad():
        rounded = single(subject.graph(atoms), ["forces"])["forces"].double()
    return below(float((rounded - exact).abs().max()) / max(rms(exact), 1e-12), 1e-3, dtype="float32")


def stress(subject: Subject) -> Iterator[Finding]:
    model = subject.energy_model
    atoms = specimens.crystal(model.elements)
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    with torch.no_grad():
        exact = model(subject.graph(atoms), ["stress"])["stress"][0].double()
    for direction in _directions((3, 3), 2):
        strain = (direction + direction.T) / 2
        slope = float((exact * torch.from_numpy(strain)).sum()) * atoms.get_volume()
        error = _off(subject, partial(_strained, atoms, strain), slope) / atoms.get_volume()
        yield below(error / (float(np.linalg.norm(strain)) * max(rms(exact), 1e-9 * _scale(model))), _DERIVATIVE,
                    of="crystal", dtype="float64")


def net_force(subject: Subject) -> Finding:
    exact = _forces(subject, specimens.molecule(subject.model.elements))
    return below(float(exact.sum(0).abs().max()) / max(rms(exact), 1e-12), _EXACT)


def net_torque(subject: Subject) -> Finding:
    atoms = specimens.molecule(subject.model.elements)
    exact = _forces(subject, atoms)
    arms = torch.from_numpy(atoms.positions - atoms.positions.mean(0))
    torque = torch.linalg.cross(arms, exact).sum(0)
    return below(float(torque.abs().max()) / max(rms(exact) * rms(arms), 1e-12), _EXACT)


def smooth_value(subject: Subject) -> Iterator[Finding]:
    """The jump of the energy where an atom crosses a radius, corrected for its slope."""
    for name, radius in _radii(subject):
        out = _crossing(subject, radius)
        slope = float(out["slopes"].mean())
        jump = abs(float(out["energies"][1] - out["energies"][0]) - 2 * _CROSSING * slope)
        yield below(jump / out["size"], 1e-8, of=f"{name} {radius:g} Å")


def smooth_force(subject: Subject) -> Iterator[Finding]:
    for name, radius in _radii(subject):
        out = _crossing(subject, radius)
        yield below(float((out["forces"][1] - out["forces"][0]).abs().max()) / out["force size"], 1e-3,
                    of=f"{name} {radius:g} Å")


def smooth_hessian(subject: Subject) -> Iterator[Finding]:
    """The jump of the second derivative along the path; only judged if the signature says ``smooth: 2``."""

    def difference(radius: float, apart: float) -> tuple[float, float]:
        """Second derivative at ``radius + apart`` minus that at ``radius − apart``, and the size of the forces."""
        sides = [_crossing(subject, radius + sign * apart, width=1e-4) for sign in (-1, 1)]
        before, after = (float(side["slopes"][1] - side["slopes"][0]) / 2e-4 for side in sides)
        return after - before, sides[0]["force size"]

    for name, radius in _radii(subject):
        near, size = difference(radius, 3e-4)
        far, _ = difference(radius, 6e-4)
        # The part from the third derivative is proportional to the distance; extrapolate to zero distance.
        jump = abs(2 * near - far) / size
        of = f"{name} {radius:g} Å"
        if _smooth_twice(subject):
            yield below(jump, 1e-2, "in forces per Å", of=of)
        else:
            yield not_applicable("in forces per Å; only judged if the signature says smooth: 2", measured=jump, of=of)


def smooth_sites(subject: Subject) -> Iterator[Finding]:
    """The restoring force at a symmetric site is proportional to the displacement; norms of vectors have a cusp there.

    Compares force over displacement at 0.001 Å and 0.004 Å of the first atom. The mean over both directions removes the
    cubic part of the energy. Only judged if the signature says ``smooth: 2``.
    """
    axis = np.array([0.61, 0.53, 0.59]) / np.linalg.norm([0.61, 0.53, 0.59])
    for of, atoms in specimens.symmetric_sites(subject.model.elements).items():
        direction = np.zeros_like(atoms.positions)
        direction[0] = axis
        stiffness, scale = [], 0.0
        for step in _DISPLACEMENTS:
            there, back = (_forces(subject, _displaced(atoms, direction, t)) for t in (step, -step))
            stiffness.append(float((there[0] - back[0]) @ torch.from_numpy(axis)) / 2 / step)
            scale = max(scale, rms(there) / step)
        near, far = stiffness
        measured = abs(near - far) / max(abs(near), abs(far), 1e-3 * scale, 1e-12)
        if _smooth_twice(subject):
            yield below(measured, _LARGEST_CHANGE, of=of, dtype="float64")
        else:
            yield not_applicable("only judged if the signature says smooth: 2", measured=measured, of=of)


def batch_independence(subject: Subject) -> Iterator[Finding]:
    model, frames = subject.energy_model, specimens.mixed(subject.model.elements)
    with torch.no_grad():
        together = model.features(subject.graph(frames))
        apart = torch.cat([model.features(subject.graph(a)) for a in frames])
        targets = subject.model(subject.graph(frames), standardised=True)
        singles = [subject.model(subject.graph(a), standardised=True) for a in frames]
    yield below(float((together - apart).abs().max()) / max(rms(apart), 1e-12), _EXACT, of="features")
    for name, value in targets.items():
        alone = torch.cat([single[name] for single in singles])
        yield below(float((value - alone).abs().max()) / max(rms(alone), 0.1), _EXACT, of=name)


def cross_gradients(subject: Subject) -> Finding:
    """d(features of one structure)/d(positions of the others) is exactly zero."""
    model = subject.energy_model
    graph = subject.graph(specimens.mixed(model.elements))
    pos = graph.pos.clone().requires_grad_(True)
    h = model.features(graph.replace(pos=pos))
    weights = torch.linspace(-1, 1, h.shape[1], dtype=h.dtype)
    last = int(graph.ptr[-2])
    gradient = torch.autograd.grad((h[last:] @ weights).sum(), pos, allow_unused=True, materialize_grads=True)[0]
    return below(float(gradient[:last].abs().max()), 0.0)


def far_copies(subject: Subject) -> Finding:
    one = specimens.molecule(subject.model.elements)
    two = one + one.copy()
    two.positions[len(one):] += [80.0, 0.0, 0.0]
    single, double = _network(subject, [one]), _network(subject, [two])
    return below(float((double - 2 * single).abs().max()) / max(float(single.abs().max()), 0.1), _EXACT)


def supercell(subject: Subject) -> Finding:
    cell = specimens.crystal(subject.model.elements)
    single, many = _network(subject, [cell]), _network(subject, [cell.repeat((3, 2, 1))])
    return below(float((many - 6 * single).abs().max()) / max(float(single.abs().max()), 0.1), _EXACT)


def lattice_vectors(subject: Subject) -> Finding:
    cell = specimens.crystal(subject.model.elements)
    moved = cell.copy()
    moved.positions[1] += cell.cell[0] - 2 * cell.cell[2]
    a, b = _network(subject, [cell]), _network(subject, [moved])
    return below(float((a - b).abs().max()) / max(float(a.abs().max()), 0.1), _EXACT)


def isolated_atom(subject: Subject) -> Finding:
    atom = specimens.single_atom(subject.model.elements)
    with torch.no_grad():
        out = subject.energy_model(subject.graph(atom), ["forces"])
    energy, force = float(out[subject.energy_model.energy_target]), float(out["forces"].abs().max())
    return found(np.isfinite(energy) and force == 0.0, f"energy {energy:.6g}, force {force:g}")


def every_neighbor(subject: Subject) -> Finding:
    """The features of an atom with 64 neighbours depend on each of them, so that their number has no cap."""
    model = subject.energy_model
    graph = specimens.many_neighbors(model.elements, model.cutoff)
    inputs = {name: torch.zeros(1, dtype=torch.float64) for name in subject.card.inputs}
    graph = model.with_vectors(graph.replace(**inputs))
    assert graph.edge_vec is not None
    vec = graph.edge_vec.detach().requires_grad_(True)
    h = model.backbone(graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1)))
    weights = torch.linspace(-1, 1, h.shape[1], dtype=h.dtype).cos()
    gradient = torch.autograd.grad(h[0] @ weights, vec)[0].norm(dim=1)[graph.target == 0]
    weakest = float(gradient.min() / gradient.max().clamp(min=1e-300))
    unseen = int((gradient == 0).sum())
    return Finding(ok=unseen == 0, measured=weakest, detail=f"{unseen} of {len(gradient)} neighbours have no influence"
                   if unseen else "weakest influence over strongest; must not be 0")


# -- measuring -----------------------------------------------------------------------------------------------------


def _smooth_twice(subject: Subject) -> bool:
    """Whether the signature claims continuous second derivatives."""
    claimed = subject.signature.get("smooth", 1)
    return isinstance(claimed, int) and claimed >= 2


def _scale(model: Model) -> float:
    """One standardised unit of the energy in eV."""
    return float(model.scale_in_ev)


def _network(subject: Subject, frames: list[ase.Atoms]) -> Tensor:
    """(B,) standardised energies of the network, without references."""
    model = subject.energy_model
    with torch.no_grad():
        return model(subject.graph(frames), standardised=True)[model.energy_target]


def _forces(subject: Subject, atoms: ase.Atoms) -> Tensor:
    with torch.no_grad():
        return subject.energy_model(subject.graph(atoms), ["forces"])["forces"].double()


def _off(subject: Subject, at: Callable[[float], ase.Atoms], slope: float) -> float:
    """Difference of dE/dt at t = 0 from ``slope``, eV: (4 D(h/2) − D(h)) / 3, D a central difference, at the best h."""
    model = subject.energy_model
    frames = [at(t) for h in _STEPS for t in (h, -h, h / 2, -h / 2)]
    energy = _network(subject, frames).double().view(len(_STEPS), 4)
    found = []
    for h, (a, b, c, d) in zip(_STEPS, energy, strict=True):
        wide, narrow = (a - b) / (2 * h), (c - d) / h
        found.append(abs(float((4 * narrow - wide) / 3) * _scale(model) - slope))
    return min(found)


def _directions(shape: tuple[int, ...], count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(tuple(shape)) for _ in range(count)]


def _displaced(atoms: ase.Atoms, direction: np.ndarray, t: float) -> ase.Atoms:
    moved = atoms.copy()
    moved.positions += t * direction
    return moved


def _strained(atoms: ase.Atoms, strain: np.ndarray, t: float) -> ase.Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ (np.eye(3) + t * strain), scale_atoms=True)
    return moved


def _radii(subject: Subject) -> list[tuple[str, float]]:
    """All cut-off radii: the model's, those that the architecture declares, and the ranges of the priors."""
    keywords, own = subject.keywords(), subject.model.cutoff
    radii = [(name, float(keywords[name])) for name in subject.architecture.cutoffs if keywords.get(name) is not None]
    if own not in [radius for _, radius in radii]:
        radii.insert(0, ("cutoff", own))
    first, traveller = torch.from_numpy(specimens.traveller(subject.model.elements, [1.0])[0].numbers[[0, -1]]).split(1)
    priors = subject.energy_model.priors
    return radii + [(name, float(prior.pair_cutoff(first, traveller))) for name, prior in priors.items()]


def _crossing(subject: Subject, radius: float, width: float = _CROSSING) -> dict[str, Any]:
    """Energies and forces just inside and just outside a radius, their slope on the path, and sizes for comparison.

    The size of the energy is its change on the path from three quarters of the radius.
    """
    model = subject.energy_model
    frames = specimens.traveller(model.elements, [radius - width, radius + width, 0.75 * radius])
    with torch.no_grad():
        network = _network(subject, frames)
        raw = [_forces(subject, a) / _scale(model) for a in frames]
    axis = torch.from_numpy(frames[1].positions[-1] - frames[0].positions[-1])
    axis = axis / axis.norm()
    slopes = torch.stack([-(f[-1] @ axis) for f in raw[:2]])
    return {"energies": network[:2], "forces": torch.stack(raw[:2]), "slopes": slopes,
            "size": max(abs(float(network[2] - network[1])), 1e-4), "force size": max(rms(raw[2]), 1e-4)}


CHECKS = (
    Check("physics.forces", "forces are −dE/dx", forces),
    Check("physics.forces-float32", "forces in float32 agree with those in float64", forces_float32),
    Check("physics.stress", "stress is the strain derivative of the energy per volume", stress),
    Check("physics.net-force", "no net force on a molecule", net_force),
    Check("physics.net-torque", "no net torque on a molecule", net_torque),
    Check("physics.smooth-value", "the energy is continuous where an atom crosses a cut-off", smooth_value),
    Check("physics.smooth-force", "forces are continuous where an atom crosses a cut-off", smooth_force),
    Check("physics.smooth-hessian", "second derivatives are continuous where an atom crosses a cut-off",
          smooth_hessian),
    Check("physics.smooth-sites", "forces are smooth where vectors vanish by symmetry", smooth_sites),
    Check("physics.neighbours", "every neighbour within the cut-off contributes, however many there are",
          every_neighbor),
    Check("physics.batch", "a batch gives the same results as its structures one by one", batch_independence),
    Check("physics.cross-gradients", "structures of a batch do not depend on each other's positions", cross_gradients),
    Check("physics.far-copies", "two far copies have twice the energy", far_copies),
    Check("physics.supercell", "n cells have n times the energy", supercell),
    Check("physics.lattice", "a shift by lattice vectors changes nothing", lattice_vectors),
    Check("physics.isolated-atom", "an isolated atom has a finite energy and no force", isolated_atom),
)
