"""What comes out is declared: ``per`` and ``shape``. Nothing else of the zoo has to know."""

from __future__ import annotations

import torch
from ase.data import chemical_symbols
from torch import Tensor

from zoo.graph import Graph
from zoo.model.readouts import Readout
from zoo.nn import sum_by


class SiteCharge(Readout):
    """q_i, shifted so that the charges of a structure sum to its total charge (0 if the model does not read it)."""

    per = "atom"

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        q = self.net(self.layout.scalars(h))[:, 0]
        total = 0 if graph.charge is None else graph.charge.to(q) / self.constants.scale.to(q)
        excess = (sum_by(q, graph.batch, graph.num_graphs) - total) / graph.ptr.diff().to(q)
        return q - excess.index_select(0, graph.batch)


class Alpha(Readout):
    """α = Σ_i a_i 1 + Σ_c g_ic v_ic ⊗ v_ic of the ``1o`` features v; the linear part is one a per element."""

    shape = (3, 3)
    irreps = "0e+2e"  # symmetric: the kit would find an antisymmetric part

    def head_width(self, layout) -> int:
        return 1 + layout.count(1, -1)

    def basis_names(self, elements) -> list[str]:
        return [chemical_symbols[z] for z in elements]

    def basis(self, graph: Graph, composition: Tensor) -> Tensor:
        return composition[:, None, None, :] * torch.eye(3).to(composition)[:, :, None]

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        head, v = self.net(self.layout.scalars(h)), self.layout.vectors(h)
        own = head[:, :1, None] * torch.eye(3).to(h) + torch.einsum("nc,nca,ncb->nab", head[:, 1:], v, v)
        return sum_by(own, graph.batch, graph.num_graphs)
