"""SchNet: continuous-filter convolutions (Schütt et al., NeurIPS 2017; J. Chem. Phys. 148, 241722, 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.graph import Graph
from zoo.nn import MLP, CosineCutoff, FilteredSum, GaussianBasis, dense, pairs


class SchNet(nn.Module):
    """Invariant features (N, C), refined by residual interaction blocks.

    Args:
        cutoff: in Å; also the last centre of the Gaussian basis.
        channels: C, features per atom.
        num_filters: channels of the convolution.
        num_layers: interaction blocks.
        num_radial: Gaussians between 0 and the cut-off.
        activation: name of the non-linearity of every block.
        num_elements: rows of the embedding; atomic numbers are below it.

    Raises:
        ZooError: unknown ``activation``.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        channels: int = 128,
        num_filters: int = 128,
        num_layers: int = 6,
        num_radial: int = 50,
        activation: str = "ssp",
        num_elements: int = 100,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.irreps_out = f"{channels}x0e"
        self.embedding = nn.Embedding(num_elements, channels, padding_idx=0)
        self.basis = GaussianBasis(num_radial, cutoff)
        self.envelope = CosineCutoff(cutoff)
        self.interactions = nn.ModuleList(
            Interaction(channels, num_filters, num_radial, activation) for _ in range(num_layers)
        )

    def forward(self, graph: Graph) -> Tensor:
        edges = pairs(graph)
        # A filter depends on the distance alone, so both directions of a pair share it.
        distance = graph.edge_len.index_select(0, edges.first)
        basis, envelope = self.basis(distance), self.envelope(distance)[:, None]
        neighbour_sum = FilteredSum(edges)
        x = self.embedding(graph.z)
        for interaction in self.interactions:
            x = x + interaction(x, basis, envelope, neighbour_sum)
        return x


class Interaction(nn.Module):
    """x_i ↦ out(Σ_j W(d_ij) ∘ (A x_j)): atom-wise map, continuous-filter convolution, two atom-wise layers.

    The filter W(d) is a two-layer network on the radial basis, times the cut-off (2018, eq. 8 and fig. 2).
    """

    def __init__(self, channels: int, num_filters: int, num_radial: int, activation: str) -> None:
        super().__init__()
        self.filter = MLP([num_radial, num_filters, num_filters], activation)
        self.project = dense(channels, num_filters, bias=False)
        self.out = MLP([num_filters, channels, channels], activation)

    def forward(self, x: Tensor, basis: Tensor, envelope: Tensor, neighbour_sum: FilteredSum) -> Tensor:
        W = self.filter(basis) * envelope
        return self.out(neighbour_sum(W, self.project(x)))
