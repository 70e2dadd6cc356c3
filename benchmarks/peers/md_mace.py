"""mace-torch's ASE calculator; the neighbour list is searched in every step, as it always is there."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from ase.data import atomic_numbers
from md_worker import Engine

torch.serialization.add_safe_globals([slice])  # e3nn 0.4 keeps one among its constants, which torch now refuses

from e3nn import o3  # noqa: E402
from mace.calculators import MACECalculator  # noqa: E402
from mace.modules import (  # noqa: E402
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    ScaleShiftMACE,
)


def build(family: str, config: dict[str, Any], symbols: list[str], now: Callable[[], float]) -> Engine:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32)
    numbers = sorted(atomic_numbers[symbol] for symbol in symbols)
    irreps = {key: o3.Irreps(config.pop(key)) for key in ("hidden_irreps", "MLP_irreps")}
    model = ScaleShiftMACE(
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        interaction_cls=RealAgnosticResidualInteractionBlock,
        interaction_cls_first=RealAgnosticInteractionBlock,
        num_elements=len(numbers),
        atomic_numbers=numbers,
        atomic_energies=np.zeros(len(numbers)),
        gate=torch.nn.functional.silu,
        **irreps,
        **config,
    ).eval()
    calculator = MACECalculator(models=model, device="cpu", default_dtype="float32")
    return Engine(calculator, {p: version(p) for p in ("mace-torch", "e3nn")})
