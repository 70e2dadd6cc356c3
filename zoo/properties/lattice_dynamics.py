"""Phonons of a crystal, from the exact second derivatives of a supercell's energy."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ase
import ase.units
import numpy as np
from ase.dft.kpoints import BandPath
from ase.geometry import minkowski_reduce

from zoo.errors import StructureError, ZooError
from zoo.model.model import Model
from zoo.properties.normal_modes import hessian_rows
from zoo.properties.primitive import primitive_cell
from zoo.simulation.relaxation import relax as relaxed

__all__ = ["IMAGINARY", "Phonons", "displaced", "phonons"]

IMAGINARY = -0.05
"""THz; what is above is a zero with the rounding of float32."""

_THZ = float(np.sqrt(ase.units._e * 1e20 / ase.units._amu) / (2e12 * np.pi))  # of √(eV/Å²/u)
_PER_CM = 1e12 / (100 * ase.units._c)  # of 1 THz
_WIDE = 16.0  # Å between opposite faces of a supercell
_SAME = 1e-3  # Å by which images at one distance may differ
_PATH_POINTS = 200


@dataclass(frozen=True)
class Phonons:
    """Force constants of a crystal, and the frequencies they give at any wave vector.

    Frequencies are exact at wave vectors commensurate with the supercell. Between these they are interpolated; the
    error is small if force constants decay to zero within half the supercell. If a pair of atoms has several nearest
    images (on the boundary of the supercell's Wigner–Seitz cell), its force constant is divided equally among them, so
    that the interpolated bands have the symmetry of the crystal (Parlinski, Li & Kawazoe 1997).

    Attributes:
        atoms: the primitive cell, n atoms.
        supercell: repetitions.
        first, second: (P,) atoms i and j of the cell, for each pair and each of its nearest images.
        vectors: (P, 3) Å, from i to that image of j.
        constants: (P, 3, 3) eV/Å², ∂²E/∂r_i∂r_j, divided among nearest images; they sum to zero for each atom (acoustic
            sum rule).
        residue: eV/Å², violation of the acoustic sum rule before it was imposed by correcting Φ_ii.
        edge: eV/Å², largest norm of a force constant at distances of half the shortest supercell period or more: an
            estimate of the truncation error of the interpolation.
    """

    atoms: ase.Atoms
    supercell: tuple[int, int, int]
    first: np.ndarray
    second: np.ndarray
    vectors: np.ndarray
    constants: np.ndarray
    residue: float
    edge: float

    @classmethod
    def of(cls, model: Model, atoms: ase.Atoms, supercell: Sequence[int]) -> Phonons:
        """Compute the force constants of a structure as it is (not relaxed): 3n backward passes through the supercell.

        Raises:
            StructureError: not a crystal, or what the model cannot take.
        """
        if not atoms.pbc.all():
            raise StructureError("phonons need a structure that is periodic in three dimensions. "
                                 "Fix: set atoms.pbc = True; for a molecule use zoo.properties.vibrations.")
        repeats = (int(supercell[0]), int(supercell[1]), int(supercell[2]))
        bare = atoms.copy()
        bare.set_constraint()
        large, n = bare * repeats, len(atoms)
        # The supercell lists all atoms of one cell after the other: columns of atom j in cell c start at 3 (j + n·c).
        blocks = hessian_rows(model, large, n).reshape(n, 3, len(large), 3).transpose(0, 2, 1, 3)
        residue = blocks.sum(1)
        blocks[np.arange(n), np.arange(n)] -= residue
        first, copy, vectors, share = _nearest_images(large, n)
        apart = np.linalg.norm(vectors, axis=1)
        size = np.linalg.norm(blocks[first, copy], axis=(1, 2))
        edge = size[apart > _shortest_vector(large) / 2 - _SAME]
        return cls(bare, repeats, first, copy % n, vectors, blocks[first, copy] * share[:, None, None],
                   float(abs(residue).max()), float(edge.max(initial=0.0)))

    def dynamical_matrix(self, q: Sequence[float] | np.ndarray) -> np.ndarray:
        """D(q) (3n, 3n) in eV/Å²/u, Hermitian: Σ Φ_ij(d) e^{i q·d} / √(m_i m_j), over images at distance d.

        Args:
            q: in units of the reciprocal lattice vectors.
        """
        n, mass = len(self.atoms), self.atoms.get_masses()
        wave = 2 * np.pi * np.asarray(q, dtype=float) @ np.asarray(self.atoms.cell.reciprocal())
        scale = np.exp(1j * self.vectors @ wave) / np.sqrt(mass[self.first] * mass[self.second])
        matrix = np.zeros((n, n, 3, 3), dtype=complex)
        np.add.at(matrix, (self.first, self.second), self.constants * scale[:, None, None])
        return matrix.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)

    def frequencies(self, points: Any) -> np.ndarray:
        """(Q, 3n) THz at wave vectors (Q, 3), ascending; imaginary ones are negative."""
        squared = np.array([np.linalg.eigvalsh(self.dynamical_matrix(q)) for q in np.asarray(points).reshape(-1, 3)])
        return np.sign(squared) * np.sqrt(abs(squared)) * _THZ

    def fits(self, q: Sequence[float] | np.ndarray) -> bool:
        """Whether a wave vector is commensurate with the supercell."""
        phase = np.asarray(q) * self.supercell
        return bool(abs(phase - phase.round()).max() < 1e-6)

    def grid(self) -> np.ndarray:
        """(Q, 3) all wave vectors commensurate with the supercell."""
        axes = [np.arange(n) / n for n in self.supercell]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)

    def path(self) -> BandPath:
        """ASE's band path through the special points of the lattice (Setyawan & Curtarolo 2010)."""
        return self.atoms.cell.bandpath(npoints=_PATH_POINTS, eps=1e-3)

    def report(self) -> dict[str, Any]:
        """Plain data for ``stability`` of a card.

        Returns:
            Settings; ``points``, for each special point of the path its wave vector ``q`` and its frequencies ``THz``
            and ``per_cm``, ascending; ``highest_THz`` and ``lowest_THz`` on the path and at all exact wave vectors;
            ``imaginary``, number of imaginary frequencies there. Imaginary frequencies are given as negative numbers.
        """
        path = self.path()
        all_of_it = self.frequencies(np.concatenate([path.kpts, self.grid()]))
        points = {}
        for label in _labels(path):
            q = path.special_points[label]
            found = self.frequencies([q])[0]
            points["Γ" if label == "G" else label] = {
                "q": _rounded(q, 4), "THz": _rounded(found, 3), "per_cm": _rounded(found * _PER_CM, 1)}
        return {
            "structure": self.atoms.get_chemical_formula(),
            "lattice": self.atoms.cell.get_bravais_lattice(eps=1e-3).longname,
            "lattice_A": _rounded(self.atoms.cell.lengths(), 4), "supercell": list(self.supercell),
            "constants": "exact second derivatives", "edge_constant_eV_A2": float(f"{self.edge:.2g}"),
            "highest_THz": _rounded([all_of_it.max()], 3)[0], "lowest_THz": _rounded([all_of_it.min()], 3)[0],
            "imaginary": int((all_of_it < IMAGINARY).sum()), "points": points,
        }


def phonons(model: Model, atoms: ase.Atoms, *, supercell: Sequence[int] | None = None, relax: bool = True) -> Phonons:
    """Phonons of a crystal, relaxed first by default.

    Args:
        model: in float64; a float32 model adds noise of about 0.05 THz.
        atoms: any cell of the crystal; its primitive cell is taken.
        supercell: repetitions of the primitive cell. If absent, the smallest even numbers with at least 16 Å between
            opposite faces; with even numbers, zone-boundary points are exact.
        relax: whether to relax positions and cell first.

    Raises:
        StructureError: not a crystal, what the model cannot take, or a relaxation that does not converge.
        ZooError: the model has no energy, or an invalid supercell.
    """
    if not atoms.pbc.all():
        raise StructureError("phonons need a structure that is periodic in three dimensions. "
                             "Fix: set atoms.pbc = True; for a molecule use zoo.properties.vibrations.")
    if supercell is not None and (len(supercell) != 3 or any(n != int(n) or n < 1 for n in supercell)):
        raise ZooError(f"supercell {list(supercell)} is not one. Fix: give three whole numbers from 1 on.")
    small = primitive_cell(atoms)
    if relax:
        small.set_constraint()
        small = relaxed(model, small, fmax=1e-3, steps=2000, cell=True)
        if not small.info["relax_converged"]:
            raise StructureError(f"{atoms.get_chemical_formula()} does not relax: after {small.info['relax_steps']} "
                                 f"steps a force of {small.info['relax_fmax']:.2g} eV/Å is left, and phonons belong to "
                                 "a minimum of the energy. Fix: start nearer to the minimum, or use float64.")
    if supercell is None:
        supercell = [2 * int(np.ceil(_WIDE / (2 * height))) for height in _heights(small)]
    return Phonons.of(model, small, supercell)


def displaced(model: Model, known: Phonons, points: Any, *, delta: float = 0.01) -> np.ndarray:
    """(Q, 3n) THz by finite displacements in the same supercell, with ASE's ``Phonons`` and ``model.calculator()``.

    Args:
        points: (Q, 3), wave vectors that fit into the supercell; elsewhere ASE interpolates in another way.
        delta: displacement, Å.
    """
    from ase.phonons import Phonons as Finite

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about imaginary frequencies, which the result shows
        finite = Finite(known.atoms, model.calculator(), supercell=known.supercell, delta=delta, name=f"{folder}/ase")
        finite.run()
        finite.read(acoustic=True)
        energies = finite.band_structure(np.asarray(points).reshape(-1, 3), verbose=False)
    return np.sort(np.asarray(energies).real, axis=1) * ase.units._e / ase.units._hplanck / 1e12


def _nearest_images(large: ase.Atoms, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All nearest images of every atom of the supercell, as seen from each of the first n atoms.

    Returns:
        atom i (P,), atom of the supercell (P,), vector between them (P, 3), 1 / number of images (P,).
    """
    box = minkowski_reduce(np.asarray(large.cell))[0]
    apart = large.positions[None] - large.positions[:n, None]
    fractional = apart @ np.linalg.inv(box)
    apart = (fractional - fractional.round()) @ box
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3) @ box
    images = apart[:, :, None] + steps
    length = np.linalg.norm(images, axis=3)
    nearest = length < length.min(2, keepdims=True) + _SAME
    first, copy, image = np.nonzero(nearest)
    return first, copy, images[first, copy, image], 1 / nearest.sum(2)[first, copy]


def _heights(atoms: ase.Atoms) -> np.ndarray:
    """(3,) Å between opposite faces of the cell."""
    return 1 / np.linalg.norm(np.linalg.inv(np.asarray(atoms.cell)), axis=0)


def _shortest_vector(atoms: ase.Atoms) -> float:
    """Length of the shortest lattice vector, Å; half of it is the inradius of the Wigner–Seitz cell."""
    return float(np.linalg.norm(minkowski_reduce(np.asarray(atoms.cell))[0], axis=1).min())


def _labels(path: BandPath) -> list[str]:
    """Names of the special points of a path, in order, without repeats."""
    from ase.dft.kpoints import parse_path_string

    return list(dict.fromkeys(label for part in parse_path_string(path.path) for label in part))


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]
