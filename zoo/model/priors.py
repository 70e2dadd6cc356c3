"""Priors: known physics that is added to the energy of a network, which learns the rest.

Training data hold no atoms that nearly touch, so nothing tells a network that such atoms repel each other. A prior
does, wherever a simulation goes; where the data speak it vanishes or is small, and the network learns what it leaves.
What a network says of such atoms by itself is arbitrary and can be larger than any prior, so a prior may hide how near
they are.
"""

from __future__ import annotations

import ase.data
import torch
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.nn import PolynomialEnvelope, gather, sum_by

__all__ = ["PRIORS", "ZBL", "Prior"]


class Prior(nn.Module):
    """Base class: an energy per atom, in eV, smooth in the positions, zero beyond the cut-off of the model."""

    def forward(self, graph: Graph) -> Tensor:
        """(N,) eV in the dtype of ``graph.edge_len``; forces and stress follow by differentiation."""
        raise NotImplementedError

    def end(self, i: Tensor, j: Tensor) -> Tensor:
        """Å, distance from which on atoms of atomic numbers ``i`` and ``j`` do not feel it."""
        raise NotImplementedError

    def shown(self, graph: Graph) -> Graph:
        """What the network is shown of the graph: all of it, unless a prior speaks for some edges alone."""
        return graph


class ZBL(Prior):
    """Screened repulsion of two nuclei, E_i = ½ Σ_j φ(r_ij) u(r_ij / c_ij)  (Ziegler, Biersack & Littmark 1985).

        φ(r) = e²/(4πε₀) Z_i Z_j / r · Σ_k A_k exp(−B_k r / a),   a = 0.8854 a₀ / (Z_i^0.23 + Z_j^0.23)

    The universal screening function is theirs. The polynomial u brings value, first and second derivative to zero at
    c_ij = reach · (R_i + R_j), covalent radii of Cordero et al. (2008), or at the model's cut-off if that is shorter.

    With ``core``, two atoms nearer than core · (R_i + R_j) look farther apart to the network than they are, and below
    0.85 times that all distances look alike (0.925 times it), so that nothing but the repulsion still changes. The
    length that is shown has three continuous derivatives, and is the true one from core · (R_i + R_j) on.

    Args:
        cutoff: of the model, Å.
        reach: 1 ends the repulsion at the length of a single bond; less leaves all bonds to the network.
        core: below the shortest distances of the training data, in sums of covalent radii; ``None`` hides nothing.
    """

    FLAT = 0.85

    AMPLITUDES = (0.18175, 0.50986, 0.28022, 0.02817)
    DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
    COULOMB = 14.3996454784255
    """e²/(4πε₀), eV Å."""
    LENGTH = 0.8854 * 0.529177210903
    """0.8854 a₀, Å."""

    charge: Tensor
    screening: Tensor
    radius: Tensor

    def __init__(self, cutoff: float, *, reach: float = 1.0, core: float | None = None) -> None:
        super().__init__()
        self.cutoff, self.reach, self.core = cutoff, reach, core
        self.envelope = PolynomialEnvelope(1.0)
        charge = torch.arange(len(ase.data.covalent_radii), dtype=torch.float64)
        self.register_buffer("charge", charge.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("screening", charge.pow(0.23).to(torch.get_default_dtype()), persistent=False)
        radii = torch.from_numpy(reach * ase.data.covalent_radii)
        self.register_buffer("radius", radii.to(torch.get_default_dtype()), persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        r, i, j = graph.edge_len, gather(graph.z, graph.target), gather(graph.z, graph.source)
        assert r is not None
        charge = gather(self.charge, i) * gather(self.charge, j)
        screening = gather(self.screening, i) + gather(self.screening, j)
        x = r * screening / self.LENGTH
        screened = sum(a * torch.exp(-b * x) for a, b in zip(self.AMPLITUDES, self.DECAYS))
        pair = self.COULOMB * charge / r * screened * self.envelope(r / self.end(i, j))
        return sum_by(pair / 2, graph.target, graph.num_nodes)

    def shown(self, graph: Graph) -> Graph:
        if self.core is None:
            return graph
        d, i, j = graph.edge_len, gather(graph.z, graph.target), gather(graph.z, graph.source)
        assert d is not None and graph.edge_vec is not None
        core = self._touching(i, j) * (self.core / self.reach)
        width = (1 - self.FLAT) * core
        t = ((d - self.FLAT * core) / width).clamp(0, 1)
        # The integral of a quintic step; it ends with the slope of d itself.
        length = torch.where(d < core, core - width / 2 + width * t**4 * (t * t - 3 * t + 2.5), d)
        return graph.replace(edge_vec=graph.edge_vec * (length / d)[:, None], edge_len=length)

    def end(self, i: Tensor, j: Tensor) -> Tensor:
        return self._touching(i, j).clamp(max=self.cutoff)

    def _touching(self, i: Tensor, j: Tensor) -> Tensor:
        """Å, reach times the sum of the covalent radii."""
        return gather(self.radius, i) + gather(self.radius, j)


PRIORS: dict[str, type[Prior]] = {"zbl": ZBL}
"""Prior by the name that a card's ``priors`` has for it."""
