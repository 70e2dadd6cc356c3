"""Force fields that bind, as backbones of a few lines: Morse pairs with lengths from covalent radii, and springs."""

from __future__ import annotations

import ase
import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor, nn

from zoo.graph.graph import Graph
from zoo.model.model import Model
from zoo.model.readout_kinds import READOUTS
from zoo.nn import sum_by
from zoo.properties import Bonds


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
    """An energy in eV, float64. Every pair of atoms is drawn together, so that molecules become clusters."""
    return energy_model(Morse(**config), elements)


class Springs(nn.Module):
    """One molecule: springs on its bonds (40 eV/Å²) and between neighbours of an atom (5), soft repulsion of the rest.

    Args:
        atoms: where all springs are relaxed.
        repulsion: eV at distance zero; it falls by e in half an ångström.
    """

    def __init__(self, atoms: ase.Atoms, *, repulsion: float = 1.0) -> None:
        super().__init__()
        self.cutoff, self.irreps_out = 50.0, "1x0e"
        bonds, n = Bonds.of(atoms), len(atoms)
        bonded = np.zeros((n, n), dtype=int)
        bonded[bonds.first, bonds.second] = bonded[bonds.second, bonds.first] = 1
        stiff = 40.0 * bonded + 5.0 * ((bonded @ bonded > 0) & (bonded == 0) & ~np.eye(n, dtype=bool))
        self.one = nn.Parameter(torch.ones(()))
        for name, value in (("stiff", stiff), ("rest", atoms.get_all_distances()), ("push", repulsion * (stiff == 0))):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, graph: Graph) -> Tensor:
        i, j = (index - graph.ptr[graph.batch[index]] for index in (graph.target, graph.source))
        pair = self.stiff[i, j] * (graph.edge_len - self.rest[i, j]) ** 2 / 2
        pair = pair + self.push[i, j] * torch.exp(-2 * graph.edge_len)
        return self.one * sum_by(pair[:, None] / 2, graph.target, graph.num_nodes)


def spring_model(atoms: ase.Atoms, *, repulsion: float = 1.0) -> Model:
    """An energy in eV, float64, of this molecule alone."""
    return energy_model(Springs(atoms, repulsion=repulsion), tuple(sorted({*atoms.numbers.tolist()})))


def energy_model(backbone: nn.Module, elements: tuple[int, ...]) -> Model:
    """The backbone's one feature, summed over atoms, is the energy in eV."""
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
