"""Readouts of values per atom, and of tensors per structure or atom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import ase.data
import torch
from torch import Tensor, nn

from zoo.errors import PluginError
from zoo.graph.graph import Graph
from zoo.model.output_types import Per
from zoo.model.readouts import Readout
from zoo.nn import sum_by
from zoo.nn.irreps import FeatureLayout

__all__ = ["AtomicScalar", "CartesianTensor", "Charges"]


class AtomicScalar(Readout):
    """A number per atom (N,): NMR shieldings, magnetic moments; the linear part is one value per element."""

    per = "atom"
    elements: Tensor

    def __init__(self, layout: FeatureLayout, elements: Sequence[int], **head: Any) -> None:
        super().__init__(layout, elements, **head)
        self.register_buffer("elements", torch.tensor(list(elements)), persistent=False)

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        return [ase.data.chemical_symbols[z] for z in elements]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        return (graph.z[:, None] == self.elements).to(composition)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        return self.net(self.layout.scalars(h))[:, 0]


class Charges(AtomicScalar):
    """Partial charges (N,) that sum to the total charge of each structure: the excess is shared by its atoms equally.

    The total is the structure's ``charge`` if the model reads it, and zero otherwise.
    """

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        mean = composition / composition.sum(1, keepdim=True).clamp(min=1)
        return super().basis(graph, composition) - mean.index_select(0, graph.batch)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        charge = super().forward(h, graph)
        total = 0 if graph.charge is None else graph.charge.to(charge) / self.constants.scale.to(charge)
        n_atoms = graph.ptr.diff().to(charge).clamp(min=1)
        excess = (sum_by(charge, graph.batch, graph.num_graphs) - total) / n_atoms
        return charge - excess.index_select(0, graph.batch)


class CartesianTensor(Readout):
    """A Cartesian tensor (3, 3): polarizability, quadrupole (``traceless``), per atom a Born charge (not symmetric).

    T_i = a_i 1 + Σ_c g_ic u_ic ⊗ w_ic + Σ_c q_ic t_ic, with a, g, q from the ``0e`` features, u and w linear maps of
    the ``1o`` features (PaiNN, eq. 14, has the position as second factor), and t the ``2e`` features as matrices.
    Per structure, it is the sum over atoms. The linear part is a multiple of the unit matrix per element.

    Args:
        per: ``"structure"`` or ``"atom"``.
        symmetric: leave out the antisymmetric part.
        traceless: leave out the trace.
        width: number of pairs u, w.

    Raises:
        PluginError: the backbone offers neither ``1o`` nor ``2e`` features, or no ``1o`` for an antisymmetric part.
    """

    shape = (3, 3)
    elements: Tensor

    def __init__(self, layout: FeatureLayout, elements: Sequence[int], *, per: Per = "structure",
                 symmetric: bool = True, traceless: bool = False, width: int = 16, **head: Any) -> None:
        vectors, tensors = layout.count(1, -1), layout.count(2, 1)
        if not (vectors or (tensors and symmetric)):
            raise PluginError(f"a tensor needs {'1o or 2e' if symmetric else '1o'} features, and the backbone offers "
                              f"{layout.irreps}. Fix: choose an equivariant backbone.")
        self.pairs = width if vectors else 0
        self.symmetric, self.traceless = symmetric, traceless
        super().__init__(layout, elements, **head)
        self.per, self.extensive = per, per == "structure"
        self.irreps = "+".join([*([] if traceless else ["0e"]), *([] if symmetric else ["1e"]), "2e"])
        self.factors = nn.Linear(vectors, 2 * self.pairs, bias=False) if vectors else None
        self.register_buffer("elements", torch.tensor(list(elements)), persistent=False)

    def head_width(self, layout: FeatureLayout) -> int:
        return 1 + self.pairs + layout.count(2, 1)

    def basis_names(self, elements: Sequence[int]) -> list[str]:
        return [] if self.traceless else [ase.data.chemical_symbols[z] for z in elements]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        if self.traceless:
            return composition[:, None, None, :0]
        count = (graph.z[:, None] == self.elements).to(composition) if self.per == "atom" else composition
        return count[:, None, None, :] * torch.eye(3).to(count)[:, :, None]

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        head = self.net(self.layout.scalars(h))
        unit = torch.eye(3).to(h)
        trace, outer, own = head.split([1, self.pairs, head.shape[1] - 1 - self.pairs], 1)
        tensor = trace[:, :, None] * unit
        if self.factors is not None:
            vectors = self.factors(self.layout.vectors(h).transpose(1, 2)).transpose(1, 2)
            product = torch.einsum("nc,nca,ncb->nab", outer, *vectors.split(self.pairs, 1))
            tensor = tensor + ((product + product.transpose(1, 2)) / 2 if self.symmetric else product)
        if own.shape[1]:
            components = torch.einsum("nc,ncm->nm", own, self.layout.channels(h, 2, 1))
            tensor = tensor + torch.einsum("nm,mab->nab", components, _symmetric_basis().to(h))
        if self.traceless:
            tensor = tensor - tensor.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * unit
        return tensor if self.per == "atom" else sum_by(tensor, graph.batch, graph.num_graphs)


@cache
def _symmetric_basis() -> Tensor:
    """(5, 3, 3) orthonormal, symmetric, traceless, in e3nn's order of ``2e``: xz, xy, 2y² − x² − z², yz, z² − x²."""
    basis = torch.zeros(5, 3, 3, dtype=torch.float64)
    for m, (a, b) in {0: (0, 2), 1: (0, 1), 3: (1, 2)}.items():
        basis[m, a, b] = basis[m, b, a] = math.sqrt(0.5)
    basis[2] = torch.diag(torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)) / math.sqrt(6)
    basis[4] = torch.diag(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)) / math.sqrt(2)
    return basis
