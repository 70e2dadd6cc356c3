"""Priors: fixed physical energy terms added to the energy of the network, which learns the rest.

Training data contain no very short interatomic distances, so a network does not learn that such atoms repel each other.
A prior adds this repulsion; at the distances in the training data it is zero or small. The network's own energy at very
short distances is arbitrary and can exceed the prior, so a prior may also replace these distances in the network's
input.
"""

from __future__ import annotations

import ase.data
import torch
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.nn import PolynomialEnvelope, gather, sum_by

__all__ = ["PRIORS", "ZBL", "Prior"]


class Prior(nn.Module):
    """Base class: an energy per atom in eV, smooth in the positions and zero beyond the model's cut-off."""

    def forward(self, graph: Graph) -> Tensor:
        """Energy of each atom (N,) in eV, in the dtype of ``graph.edge_len``; forces and stress are its derivatives."""
        raise NotImplementedError

    def pair_cutoff(self, i: Tensor, j: Tensor) -> Tensor:
        """Distance in Å beyond which the prior is zero for atoms of atomic numbers ``i`` and ``j``."""
        raise NotImplementedError

    def network_graph(self, graph: Graph) -> Graph:
        """The graph as the network receives it: unchanged, unless a prior modifies short edges."""
        return graph


class ZBL(Prior):
    """ZBL screened nuclear repulsion, E_i = ½ Σ_j φ(r_ij) u(r_ij / c_ij)  (Ziegler, Biersack & Littmark 1985).

        φ(r) = e²/(4πε₀) Z_i Z_j / r · Σ_k A_k exp(−B_k r / a),   a = 0.8854 a₀ / (Z_i^0.23 + Z_j^0.23)

    A_k and B_k are those of the universal ZBL screening function. The polynomial u takes the energy and its first two
    derivatives to zero at c_ij = reach · (R_i + R_j), with the covalent radii of Cordero et al. (2008), or at the
    model's cut-off if that is shorter.

    With ``core``, the network receives modified distances where d < d₀ = core · (R_i + R_j): they level off to the
    constant 0.925 d₀ for d ≤ 0.85 d₀, so that only the ZBL energy changes there. The modified distance has three
    continuous derivatives and equals d for d ≥ d₀.

    Args:
        cutoff: cut-off radius of the model, Å.
        reach: range of the repulsion in sums of covalent radii; 1 is the length of a single bond, and below 1 the
            energy of bonds comes from the network alone.
        core: d₀ in sums of covalent radii, shorter than all distances in the training data; ``None`` leaves distances
            unchanged.
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
        pair = self.COULOMB * charge / r * screened * self.envelope(r / self.pair_cutoff(i, j))
        return sum_by(pair / 2, graph.target, graph.num_nodes)

    def network_graph(self, graph: Graph) -> Graph:
        if self.core is None:
            return graph
        d, i, j = graph.edge_len, gather(graph.z, graph.target), gather(graph.z, graph.source)
        assert d is not None and graph.edge_vec is not None
        core = self._touching(i, j) * (self.core / self.reach)
        width = (1 - self.FLAT) * core
        t = ((d - self.FLAT * core) / width).clamp(0, 1)
        # The integral of a quintic smoothstep: slope 0 at t = 0 and slope 1, that of d itself, at t = 1.
        length = torch.where(d < core, core - width / 2 + width * t**4 * (t * t - 3 * t + 2.5), d)
        return graph.replace(edge_vec=graph.edge_vec * (length / d)[:, None], edge_len=length)

    def pair_cutoff(self, i: Tensor, j: Tensor) -> Tensor:
        return self._touching(i, j).clamp(max=self.cutoff)

    def _touching(self, i: Tensor, j: Tensor) -> Tensor:
        """``reach`` times the sum of the covalent radii, Å."""
        return gather(self.radius, i) + gather(self.radius, j)


PRIORS: dict[str, type[Prior]] = {"zbl": ZBL}
"""Prior by the name that a card's ``priors`` has for it."""
