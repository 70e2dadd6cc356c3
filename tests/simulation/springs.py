"""A force field that binds: Morse pairs with lengths from covalent radii, as a backbone of a few lines."""

from __future__ import annotations

import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from zoo.graph import Graph
from zoo.model import Model
from zoo.nn import sum_by
from zoo.readouts import READOUTS


class Morse(nn.Module):
    """h_i = ½ Σ_j D [(1 − exp(−a (d − r_i − r_j)))² − 1] s(d), s smooth at the cut-off; eV."""

    def __init__(self, *, cutoff: float = 5.0, depth: float = 1.0, width: float = 1.8,
                 size: float = 1.0) -> None:
        super().__init__()
        self.cutoff, self.depth, self.width = cutoff, depth, width
        self.irreps_out = "1x0e"
        self.one = nn.Parameter(torch.ones(()))
        self.register_buffer("radius", size * torch.tensor(covalent_radii[:100]), persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        bond = self.radius[graph.z[graph.source]] + self.radius[graph.z[graph.target]]
        well = (1 - torch.exp(-self.width * (graph.edge_len - bond.to(graph.edge_len)))) ** 2 - 1
        smooth = (1 - (graph.edge_len / self.cutoff).clamp(max=1) ** 2) ** 3
        pair = 0.5 * self.depth * well * smooth
        return self.one * sum_by(pair[:, None], graph.target, graph.num_nodes)


def morse_model(elements: tuple[int, ...] = (1, 6, 7, 8, 14, 29), **config) -> Model:
    """An energy in eV, float64."""
    backbone = Morse(**config)
    layout = Model(backbone, {}, units={}, elements=elements).layout
    energy = READOUTS["energy"](layout, elements, hidden=[], bias=False)
    model = Model(backbone, {"energy": energy}, units={"energy": "eV"}, elements=elements).double().eval()
    for parameter in energy.net.parameters():
        nn.init.ones_(parameter)
    return model


class Spoilt(nn.Module):
    """A backbone whose features of one element are not finite."""

    def __init__(self, backbone: nn.Module, element: int) -> None:
        super().__init__()
        self.inner, self.element = backbone, element
        self.cutoff, self.irreps_out = backbone.cutoff, backbone.irreps_out

    def forward(self, graph: Graph) -> Tensor:
        h = self.inner(graph)
        return h * torch.where(graph.z == self.element, torch.nan, 1.0)[:, None].to(h)


def spoilt(model: Model, *, element: int) -> Model:
    model.backbone = Spoilt(model.backbone, element)
    return model
