"""Products of irreps before and after a rotation, and the change of basis that block-diagonalises R⊗R.

A vector (``1o``) and a pseudovector (``1e``) have a reducible 9-dimensional outer product: Clebsch–Gordan
coefficients Q split it into ``0o + 1o + 2o``, and Qᵀ (D₁⊗D₂) Q is the block-diagonal D of these irreps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.nn.irreps import FeatureLayout
from zoo.nn.rotations import transform, wigner_d

__all__ = [
    "Products", "Transformed", "block_diagonal", "change_of_basis", "nearest_rotation", "products", "representation",
    "transformed",
]


@dataclass(frozen=True)
class Products:
    """Products of two Cartesian vectors; ``spherical`` is the outer product in the basis of :func:`change_of_basis`."""

    outer: Tensor
    inner: Tensor
    cross: Tensor
    spherical: Tensor
    irreps: str


@dataclass(frozen=True)
class Transformed:
    """A product of transformed factors, the transformed product, and the largest difference between the two."""

    name: str
    irreps: str
    of_factors: Tensor
    of_product: Tensor

    @property
    def error(self) -> float:
        return float((self.of_factors - self.of_product).abs().max())


def products(x: Tensor, y: Tensor, *, irreps_x: str = "1o", irreps_y: str = "1e") -> Products:
    """Outer x yᵀ (3, 3), inner x·y (), cross x×y (3,) and spherical outer product (9,) of two vectors, in float64."""
    x, y = x.double(), y.double()
    basis, irreps = change_of_basis(irreps_x, irreps_y)
    outer = torch.outer(x, y)
    return Products(outer, torch.dot(x, y), torch.linalg.cross(x, y), outer.flatten() @ basis, irreps)


def transformed(x: Tensor, y: Tensor, matrix: Tensor, *, irreps_x: str = "1o", irreps_y: str = "1e"
                ) -> list[Transformed]:
    """Every product of the transformed vectors, and the transformed product; they agree for any orthogonal matrix.

    A pseudovector (``1e``) does not change sign under inversion; therefore the inner product of a ``1o`` with a ``1e``
    is a pseudoscalar ``0o``: the same after a rotation, of opposite sign after a reflection.
    """
    matrix = matrix.double()
    _check_orthogonal(matrix)
    before = products(x, y, irreps_x=irreps_x, irreps_y=irreps_y)
    turned_x, turned_y = (transform(i, v.double()[None], matrix)[0] for i, v in ((irreps_x, x), (irreps_y, y)))
    after = products(turned_x, turned_y, irreps_x=irreps_x, irreps_y=irreps_y)
    scalar, vector = (f"{l}{'e' if _parity(irreps_x) * _parity(irreps_y) == 1 else 'o'}" for l in (0, 1))
    of_outer = (representation(irreps_x, irreps_y, matrix) @ before.outer.flatten()).reshape(3, 3)
    return [
        Transformed("outer", f"{irreps_x}⊗{irreps_y}", after.outer, of_outer),
        Transformed("inner", scalar, after.inner, transform(scalar, before.inner.reshape(1, 1), matrix)[0, 0]),
        Transformed("cross", vector, after.cross, transform(vector, before.cross[None], matrix)[0]),
        Transformed("spherical", before.irreps, after.spherical,
                    transform(before.irreps, before.spherical[None], matrix)[0]),
    ]


def representation(irreps_1: str, irreps_2: str, matrix: Tensor) -> Tensor:
    """D₁⊗D₂ of an orthogonal matrix, acting on outer products flattened row by row: (d₁d₂, d₁d₂) float64."""
    return torch.kron(block_diagonal(irreps_1, matrix), block_diagonal(irreps_2, matrix))


def block_diagonal(irreps: str, matrix: Tensor) -> Tensor:
    """D of an irreps string, (dim, dim) float64: one block per irrep."""
    matrix = matrix.double()
    improper = bool(torch.linalg.det(matrix) < 0)
    proper = -matrix if improper else matrix
    blocks = []
    for term in FeatureLayout(irreps).terms:
        block = (term.p if improper else 1) * wigner_d(term.l, proper)
        blocks += [block] * term.mul
    return torch.block_diag(*blocks)


def change_of_basis(irreps_1: str, irreps_2: str) -> tuple[Tensor, str]:
    """Orthogonal Q (d₁d₂, d₁d₂) with Qᵀ (D₁⊗D₂) Q = D, and the irreps of D, sorted by l.

    The columns of Q are Clebsch–Gordan coefficients √(2l+1)·(l₁ l₂ l; m₁ m₂ m) in e3nn's real basis, which makes
    ``outer.flatten() @ Q`` equal to e3nn's full tensor product.
    """
    first, second = FeatureLayout(irreps_1), FeatureLayout(irreps_2)
    columns: list[tuple[int, int, Tensor]] = []
    for a in _copies(first):
        for b in _copies(second):
            for l in range(abs(a[1] - b[1]), a[1] + b[1] + 1):
                block = torch.zeros(first.dim, second.dim, 2 * l + 1, dtype=torch.float64)
                block[a[0] : a[0] + 2 * a[1] + 1, b[0] : b[0] + 2 * b[1] + 1] = _clebsch_gordan(a[1], b[1], l)
                columns.append((l, a[2] * b[2], block.flatten(0, 1)))
    columns.sort(key=lambda column: (column[0], column[1]))
    irreps = "+".join(f"{l}{'e' if p == 1 else 'o'}" for l, p, _ in columns)
    return torch.cat([column for *_, column in columns], 1), irreps


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The orthogonal matrix closest to a rounded one, by singular values (Kabsch); the determinant keeps its sign."""
    u, _, v = torch.linalg.svd(matrix.double())
    return u @ v


def _clebsch_gordan(l1: int, l2: int, l: int) -> Tensor:
    from e3nn import o3

    return o3.wigner_3j(l1, l2, l, dtype=torch.float64) * (2 * l + 1) ** 0.5


def _copies(layout: FeatureLayout) -> list[tuple[int, int, int]]:
    """(first column, l, parity) of every single irrep."""
    return [(t.start + k * (2 * t.l + 1), t.l, t.p) for t in layout.terms for k in range(t.mul)]


def _parity(irreps: str) -> int:
    (term,) = FeatureLayout(irreps).terms
    return term.p


def _check_orthogonal(matrix: Tensor) -> None:
    off = float((matrix @ matrix.T - torch.eye(3, dtype=matrix.dtype)).abs().max())
    if off > 1e-9:
        raise ZooError(f"the matrix is not a rotation: R Rᵀ differs from the identity by {off:.1e}. Fix: give an "
                       "orthogonal matrix; for a rounded one, use nearest_rotation(matrix)")
