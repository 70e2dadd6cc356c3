"""GemNet-Q's equations written as loops over atoms, in NumPy float64. Slow, and independent of the zoo's own code.

Gasteiger, Becker, Günnemann 2021, arXiv:2106.08903: eqs. 7–11 and figs. 2–3, bases of appendix C, with two readings:
the spherical harmonics are those even in the dihedral (cos mθ; those with sin mθ change sign under reflection), and
angles come from ``arccos`` and ``arctan2``.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np
import scipy.optimize
import scipy.special

State = dict[str, np.ndarray]


class Edges:
    """All j → i within a radius, every image: j, i, integer shift, vector x_j + S·cell − x_i."""

    def __init__(self, pos: np.ndarray, cutoff: float, cell: np.ndarray | None = None) -> None:
        images = [(0, 0, 0)] if cell is None else list(np.ndindex(9, 9, 9))
        self.rows = []
        for i in range(len(pos)):
            for j in range(len(pos)):
                for image in images:
                    shift = np.array(image) if cell is None else np.array(image) - 4
                    x = pos[j] - pos[i] + (0 if cell is None else shift @ cell)
                    if 1e-9 < np.linalg.norm(x) < cutoff:
                        self.rows.append((j, i, tuple(int(s) for s in shift), x))

    def into(self, atom: int) -> list[int]:
        return [e for e, row in enumerate(self.rows) if row[1] == atom]

    def reverse(self, e: int) -> int:
        j, i, shift, _ = self.rows[e]
        back = tuple(-s for s in shift)
        return next(k for k, row in enumerate(self.rows) if (row[0], row[1], row[2]) == (i, j, back))


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x)) / 0.6


def envelope(d: float, cutoff: float, p: int) -> float:
    x = d / cutoff
    if x >= 1:
        return 0.0
    return 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)


@cache
def bessel_zeros(l: int, num: int) -> list[float]:
    zeros = [n * math.pi for n in range(1, num + l + 1)]
    for degree in range(1, l + 1):
        zeros = [scipy.optimize.brentq(lambda x, k=degree: scipy.special.spherical_jn(k, x), a, b, xtol=1e-15)
                 for a, b in pairwise(zeros)]
    return zeros[:num]


@cache
def radial_functions(d: float, l: int, num: int, cutoff: float, p: int) -> np.ndarray:
    """u(d) √(2 / (c³ j_{l+1}(z_ln)²)) j_l(z_ln d/c) for n = 1 … num."""
    z = np.array(bessel_zeros(l, num))
    norm = np.sqrt(2 / (cutoff**3 * scipy.special.spherical_jn(l + 1, z) ** 2))
    return envelope(d, cutoff, p) * norm * scipy.special.spherical_jn(l, z * d / cutoff)


def harmonic(l: int, m: int, polar: float, azimuth: float) -> float:
    """Real spherical harmonic with cos mθ, without Condon and Shortley's sign."""
    ratio = math.factorial(l - m) / math.factorial(l + m)
    norm = math.sqrt((2 * l + 1) / (4 * math.pi) * ratio * (2 if m else 1))
    return norm * (-1) ** m * scipy.special.lpmv(m, l, math.cos(polar)) * math.cos(m * azimuth)


def angle(x: np.ndarray, y: np.ndarray) -> float:
    return math.atan2(np.linalg.norm(np.cross(x, y)), x @ y)


def dihedral(c_from_a: np.ndarray, b_from_a: np.ndarray, d_from_b: np.ndarray) -> float:
    """Angle between the planes cab and abd, seen along a–b: 0 for cis."""
    axis = b_from_a / np.linalg.norm(b_from_a)
    u = c_from_a - (c_from_a @ axis) * axis
    v = d_from_b - (d_from_b @ axis) * axis
    return math.atan2(axis @ np.cross(u, v), u @ v)


class GemNetQ:
    """The forward pass, weights by the names of the model under test.

    ``config`` holds the constructor's keywords. Returns the concatenated features of the output blocks, (N, …).
    """

    def __init__(self, state: State, config: dict) -> None:
        self.w = state
        self.c = config
        self.degrees = config["num_spherical"]

    def dense(self, name: str, x: np.ndarray, *, activate: bool = True) -> np.ndarray:
        y = self.w[f"{name}.weight"] @ x
        return silu(y) if activate else y

    def residuals(self, name: str, x: np.ndarray) -> np.ndarray:
        k = 0
        while f"{name}.{k}.first.weight" in self.w:
            x = (x + self.dense(f"{name}.{k}.second", self.dense(f"{name}.{k}.first", x))) / math.sqrt(2)
            k += 1
        return x

    def __call__(self, z: np.ndarray, pos: np.ndarray, cell: np.ndarray | None = None) -> np.ndarray:
        c, w = self.c, self.w
        cutoff, p = c["cutoff"], c["envelope_exponent"]
        self.edges = Edges(pos, cutoff, cell)
        self.axes = Edges(pos, c["cutoff_interaction"], cell)
        self.back = [self.edges.reverse(e) for e in range(len(self.edges.rows))]
        self.d = [np.linalg.norm(row[3]) for row in self.edges.rows]
        frequencies = w["radial.frequencies"]
        rbf = [math.sqrt(2 / cutoff) * np.sin(frequencies * d) / d * envelope(d, cutoff, p) for d in self.d]
        h = [w["atom_embedding.weight"][k - 1] for k in z]
        m = [self.dense("edge_embedding.dense", np.concatenate([h[j], h[i], rbf[e]]))
             for e, (j, i, _, _) in enumerate(self.edges.rows)]
        rbf_h = [self.dense("radial_atom", x, activate=False) for x in rbf]
        rbf_out = [self.dense("radial_output", x, activate=False) for x in rbf]
        features = [self.to_atoms("outputs.0", m, rbf_out, len(z))]
        for k in range(c["blocks"]):
            name = f"interactions.{k}"
            triplets = self.two_ways(f"{name}.triplets", self.triplets(f"{name}.triplets", m, rbf))
            quadruplets = self.two_ways(f"{name}.quadruplets", self.quadruplets(f"{name}.quadruplets", m, rbf))
            for e in range(len(m)):
                x = (self.dense(f"{name}.dense", m[e]) + triplets[e] + quadruplets[e]) / math.sqrt(3)
                x = self.residuals(f"{name}.before_skip", x)
                m[e] = self.residuals(f"{name}.after_skip", (m[e] + x) / math.sqrt(2))
            update = self.to_atoms(f"{name}.atom_update", m, rbf_h, len(z))
            h = [(a + b) / math.sqrt(2) for a, b in zip(h, update, strict=True)]
            for e, (j, i, _, _) in enumerate(self.edges.rows):
                x = self.dense(f"{name}.edge_embedding.dense", np.concatenate([h[j], h[i], m[e]]))
                m[e] = (m[e] + self.residuals(f"{name}.after_concat", x)) / math.sqrt(2)
            features.append(self.to_atoms(f"outputs.{k + 1}", m, rbf_out, len(z)))
        return np.concatenate([np.stack(f) for f in features], axis=1)

    def to_atoms(self, name: str, m: list, rbf: list, num: int) -> list[np.ndarray]:
        out = []
        for i in range(num):
            x = np.zeros_like(m[0])
            for e in self.edges.into(i):
                x = x + m[e] * self.dense(f"{name}.radial", rbf[e], activate=False)
            x = self.dense(f"{name}.dense", x * self.w[f"{name}.scale.factor"])
            out.append(self.residuals(f"{name}.residuals", x))
        return out

    def two_ways(self, name: str, y: list[np.ndarray]) -> list[np.ndarray]:
        up = [self.dense(f"{name}.up", x) for x in y]
        back = [self.dense(f"{name}.up_reverse", x) for x in y]
        return [(up[e] + back[self.back[e]]) / math.sqrt(2) for e in range(len(y))]

    def message(self, name: str, basis: str, m: np.ndarray, rbf: np.ndarray, fade: float) -> np.ndarray:
        """A message after its dense layer, the radial basis and the down-projection."""
        radial = self.dense(f"{basis}.radial", rbf, activate=False) * fade
        x = self.dense(f"{name}.dense", m) * self.dense(f"{name}.radial", radial, activate=False)
        return self.dense(f"{name}.down", x * self.w[f"{name}.scale_radial.factor"])

    def triplets(self, name: str, m: list, rbf: list) -> list[np.ndarray]:
        """Σ_b W (CBF(x_ca, φ_cab)) m_ba for every c→a."""
        c, rows = self.c, self.edges.rows
        reach, p = c["cutoff_triplets"], c["envelope_exponent"]
        W, B = self.w["triplet_basis.circular.weight"], self.w[f"{name}.bilinear.weight"]
        out = []
        for ca, (_, a, _, x_ca) in enumerate(rows):
            total = np.zeros(B.shape[2])
            for ba in self.edges.into(a):
                if ba == ca or self.d[ca] >= reach or self.d[ba] >= reach:
                    continue
                fade = envelope(self.d[ba], reach, p) if reach < c["cutoff"] else 1.0
                x = self.message(name, "triplet_basis", m[ba], rbf[ba], fade)
                phi = angle(x_ca, rows[ba][3])
                basis = np.zeros(W.shape[2])
                for l in range(self.degrees):
                    basis += radial_functions(self.d[ca], l, c["num_radial"], reach, p) @ W[l] * harmonic(l, 0, phi, 0)
                total += np.einsum("i,c,cio->o", basis, x, B)
            out.append(total * self.w[f"{name}.scale_sum.factor"])
        return out

    def quadruplets(self, name: str, m: list, rbf: list) -> list[np.ndarray]:
        """Σ_b Σ_d W (SBF(x_ca, φ_cab, θ_cabd)) (W CBF(x_ab, φ_abd)) ⊙ m_db for every c→a (eq. 7)."""
        c, rows = self.c, self.edges.rows
        reach, p = c["cutoff_quadruplets"], c["envelope_exponent"]
        S, B = self.w["quadruplet_basis.spherical.weight"], self.w[f"{name}.bilinear.weight"]
        order = [(l, k) for k in range(self.degrees) for l in range(k, self.degrees)]
        out = []
        for ca, (atom_c, a, shift_c, x_ca) in enumerate(rows):
            total = np.zeros(B.shape[2])
            for axis in self.axes.into(a) if self.d[ca] < reach else []:
                b, _, shift_b, x_ba = self.axes.rows[axis]
                if (b, shift_b) == (atom_c, shift_c):
                    continue
                phi_cab = angle(x_ca, x_ba)
                for db in self.edges.into(b):
                    atom_d, _, shift_d, x_db = rows[db]
                    place = tuple(s + t for s, t in zip(shift_d, shift_b, strict=True))
                    if self.d[db] >= reach or (atom_d, place) in ((a, (0, 0, 0)), (atom_c, shift_c)):
                        continue
                    fade = envelope(self.d[db], reach, p) if reach < c["cutoff"] else 1.0
                    x = self.message(name, "quadruplet_basis", m[db], rbf[db], fade)
                    x = x * self.over_the_axis(name, np.linalg.norm(x_ba), angle(-x_ba, x_db))
                    theta = dihedral(x_ca, x_ba, x_db)
                    basis = np.zeros(S.shape[2])
                    for lm, (l, k) in enumerate(order):
                        radial = radial_functions(self.d[ca], l, c["num_radial"], reach, p)
                        basis += radial @ S[lm] * harmonic(l, k, phi_cab, theta)
                    total += np.einsum("i,c,cio->o", basis, x * self.w[f"{name}.scale_circular.factor"], B)
            out.append(total * self.w[f"{name}.scale_sum.factor"])
        return out

    def over_the_axis(self, name: str, d_ab: float, phi_abd: float) -> np.ndarray:
        c = self.c
        basis = [radial_functions(d_ab, l, c["num_radial"], c["cutoff_interaction"], c["envelope_exponent"])
                 * harmonic(l, 0, phi_abd, 0) for l in range(self.degrees)]
        projected = self.w["quadruplet_basis.circular"] @ np.concatenate(basis)
        return self.dense(f"{name}.circular", projected, activate=False)
