"""schnetpack's ASE calculator with matscipy's neighbour list in its Verlet skin of 0.5 Å."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from md_worker import Engine
from schnetpack.atomistic import Atomwise, Forces, PairwiseDistances
from schnetpack.interfaces import SpkCalculator
from schnetpack.model import NeuralNetworkPotential
from schnetpack.nn import BesselRBF, CosineCutoff, GaussianRBF
from schnetpack.representation import PaiNN, SchNet
from schnetpack.transform import MatScipyNeighborList, SkinNeighborList


def build(family: str, config: dict[str, Any], symbols: list[str], now: Callable[[], float]) -> Engine:
    torch.manual_seed(0)
    cutoff, n_rbf = config.pop("cutoff"), config.pop("n_rbf")
    make, basis = (PaiNN, BesselRBF) if family == "painn" else (SchNet, GaussianRBF)
    representation = make(radial_basis=basis(n_rbf, cutoff), cutoff_fn=CosineCutoff(cutoff), **config)
    heads = [Atomwise(n_in=config["n_atom_basis"], output_key="energy"), Forces()]
    model = NeuralNetworkPotential(representation, [PairwiseDistances()], heads).eval()
    neighbours = SkinNeighborList(MatScipyNeighborList(cutoff=cutoff), cutoff_skin=0.5)
    calculator = SpkCalculator(model, neighbours, energy_unit="eV")
    return Engine(calculator, {"schnetpack": version("schnetpack")})
