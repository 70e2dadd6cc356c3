"""nequip's ASE calculator with its default neighbour list; eager, as its compiled form needs a minute for each size."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from md_worker import Engine
from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform
from nequip.integrations.ase import NequIPCalculator
from nequip.model import NequIPGNNModel
from nequip.utils.global_state import set_global_state


def build(family: str, config: dict[str, Any], symbols: list[str], now: Callable[[], float]) -> Engine:
    set_global_state()
    torch.set_default_dtype(torch.float32)
    model = NequIPGNNModel(seed=0, model_dtype="float32", type_names=symbols, **config).eval()
    transforms = [
        ChemicalSpeciesToAtomTypeMapper(symbols, {symbol: symbol for symbol in symbols}),
        NeighborListTransform(r_max=config["r_max"]),
    ]
    calculator = NequIPCalculator(model, "cpu", transforms=transforms)
    return Engine(calculator, {p: version(p) for p in ("nequip", "e3nn")})
