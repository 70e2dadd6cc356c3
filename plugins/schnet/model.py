"""SchNet: continuous-filter convolutions (Schütt et al., NeurIPS 2017; J. Chem. Phys. 148, 241722, 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from zoo.graph import Graph
from zoo.nn import (
    MLP,
    CosineCutoff,
    FilteredSum,
    GaussianBasis,
    RadialTable,
    TableSum,
    dense,
    in_double,
    is_traced,
    pairs,
)

Convolve = Callable[[nn.Module, Tensor], Tensor]

_FINENESS = 10
"""Intervals of the grid for each Gaussian: filters then differ by less than 2e-7 of their largest value."""
_PAIRS_A_NODE = 6
"""So many pairs of atoms for each node of the grid make it pay; at four it is level."""


class SchNet(nn.Module):
    """Invariant features (N, C), refined by residual interaction blocks.

    Args:
        cutoff: in Å; also the last centre of the Gaussian basis.
        channels: C, features per atom.
        num_filters: channels of the convolution.
        num_layers: interaction blocks.
        num_radial: Gaussians between 0 and the cut-off.
        activation: name of the non-linearity of every block.
        filter_grid: number of intervals of 0 … cutoff on which the filter networks are evaluated and between which they
            are interpolated; 0 evaluates them at every distance. By default: 10 ``num_radial`` intervals where that is
            several times faster and changes results by no more than float32's own rounding, which is in float32, on
            a CPU, from a few thousand pairs of atoms on.
        num_elements: rows of the embedding; atomic numbers are below it.

    Raises:
        ZooError: unknown ``activation``.
    """

    def __init__(
        self,
        *,
        cutoff: float = 5.0,
        channels: PositiveInt = 128,
        num_filters: PositiveInt = 128,
        num_layers: PositiveInt = 6,
        num_radial: PositiveInt = 50,
        activation: str = "ssp",
        filter_grid: int | None = None,
        num_elements: PositiveInt = 100,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.irreps_out = f"{channels}x0e"
        self.embedding = nn.Embedding(num_elements, channels, padding_idx=0)
        self.basis = GaussianBasis(num_radial, cutoff)
        self.envelope = CosineCutoff(cutoff)
        self.always_table = filter_grid is not None
        self.table = None if filter_grid == 0 else RadialTable(filter_grid or _FINENESS * num_radial, cutoff)
        self.interactions = nn.ModuleList(
            Interaction(channels, num_filters, num_radial, activation) for _ in range(num_layers)
        )

    def forward(self, graph: Graph) -> Tensor:
        convolve = self._convolution(graph)
        x = self.embedding(graph.z)
        for interaction in self.interactions:
            x = x + interaction(x, convolve)
        return x

    def _convolution(self, graph: Graph) -> Convolve:
        """From a filter network and h (N, C) to Σ_j W(d_ij) ∘ h_j; W is the network's value times the cut-off.

        A filter depends on the distance alone, so both directions of a pair share it.
        """
        edges = pairs(graph)
        distance, neighbor_sum = graph.edge_len.index_select(0, edges.first), FilteredSum(edges)
        envelope = self.envelope(distance)
        if not self._table_pays(distance):
            basis = self.basis(distance)
            return lambda network, h: neighbor_sum(network(basis) * envelope[:, None], h)
        basis, lookup = self.basis(self.table.nodes()), self.table(distance, envelope)

        def convolve(network: nn.Module, h: Tensor) -> Tensor:
            coefficients = lookup.coefficients(in_double(network, basis))
            return TableSum(edges, lookup, coefficients)(lookup.weights, h)

        return convolve

    def _table_pays(self, distance: Tensor) -> bool:
        if self.table is None or self.always_table:
            return self.table is not None
        if is_traced() or distance.dtype != torch.float32 or distance.device.type != "cpu":
            return False
        return distance.shape[0] >= _PAIRS_A_NODE * self.table.num_nodes


class Interaction(nn.Module):
    """x_i ↦ out(Σ_j W(d_ij) ∘ (A x_j)): atom-wise map, continuous-filter convolution, two atom-wise layers.

    The filter W(d) is a two-layer network on the radial basis, times the cut-off (2018, eq. 8 and fig. 2).
    """

    def __init__(self, channels: int, num_filters: int, num_radial: int, activation: str) -> None:
        super().__init__()
        self.filter = MLP([num_radial, num_filters, num_filters], activation)
        self.project = dense(channels, num_filters, bias=False)
        self.out = MLP([num_filters, channels, channels], activation)

    def forward(self, x: Tensor, convolve: Convolve) -> Tensor:
        return self.out(convolve(self.filter, self.project(x)))
