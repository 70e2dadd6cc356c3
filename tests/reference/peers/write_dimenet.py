"""Write dimenet.safetensors with torch-geometric's DimeNet++. Run in the peer's environment (see ``make.py``)."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from record import DTYPES, energies_and_forces, make_model, write
from scipy.optimize import brentq
from scipy.special import spherical_jn
from structures import Batch, make_batch, triplets
from torch_geometric.nn.models import DimeNetPlusPlus, dimenet, dimenet_utils

CONFIG = {
    "hidden_channels": 20, "out_channels": 1, "num_blocks": 2, "int_emb_size": 12, "basis_emb_size": 5,
    "out_emb_channels": 24, "num_spherical": 7, "num_radial": 6, "cutoff": 4.0, "envelope_exponent": 5,
    "num_before_skip": 1, "num_after_skip": 2, "num_output_layers": 3, "output_initializer": "glorot_orthogonal",
}  # fmt: skip
PAPER = CONFIG | {
    "hidden_channels": 128, "num_blocks": 4, "int_emb_size": 64, "basis_emb_size": 8, "out_emb_channels": 256,
    "cutoff": 5.0, "output_initializer": "zeros",
}  # fmt: skip


package_zeros, package_basis = dimenet_utils.Jn_zeros, dimenet_utils.bessel_basis


def exact_zeros(n: int, k: int) -> np.ndarray:
    """The package's zeros of the spherical Bessel functions, which it keeps in float32, found again in float64."""
    zeros = package_zeros(n, k).astype(np.float64)
    for order in range(n):
        for i in range(k):
            around = zeros[order, i]
            zeros[order, i] = brentq(lambda x, l=order: spherical_jn(l, x), around - 1e-3, around + 1e-3, xtol=1e-15)
    return zeros


@cache
def basis_in(dtype: torch.dtype, n: int, k: int) -> list:
    """Symbolic functions; deriving them takes some 15 s, so once per precision is enough."""
    dimenet_utils.Jn_zeros = exact_zeros if dtype == torch.float64 else package_zeros
    return package_basis(n, k)


dimenet_utils.bessel_basis = lambda n, k: basis_in(torch.get_default_dtype(), n, k)


def hand_in(batch: Batch, kj: torch.Tensor, ji: torch.Tensor) -> None:
    """Replace the two functions that need compiled extensions by ones that return what was found beforehand."""
    edge_index = torch.from_numpy(batch.edge_index)
    source, target = edge_index

    def radius_graph(*_: Any, **__: Any) -> torch.Tensor:
        return edge_index

    def given_triplets(*_: Any, **__: Any) -> tuple[torch.Tensor, ...]:
        return target, source, target[ji], source[ji], source[kj], kj, ji

    dimenet.radius_graph = radius_graph
    dimenet.triplets = given_triplets


def main() -> None:
    batch = make_batch(CONFIG["cutoff"], crystal=False)
    structure = torch.from_numpy(batch.batch)
    kj, ji = (torch.from_numpy(index) for index in triplets(batch))
    hand_in(batch, kj, ji)

    outputs = {}
    for name, dtype in DTYPES.items():
        model = make_model(lambda: DimeNetPlusPlus(**CONFIG), dtype, seed=2)
        outputs[name] = energies_and_forces(lambda z, pos, model=model: model(z, pos, structure), batch, dtype)
    paper = sum(p.numel() for p in DimeNetPlusPlus(**PAPER).parameters())
    write(
        "dimenet",
        model=make_model(lambda: DimeNetPlusPlus(**CONFIG), torch.float32, seed=2),
        config=CONFIG,
        batch=batch,
        outputs=outputs,
        packages=["torch-geometric"],
        paper_parameters={"config": PAPER, "parameters": paper},
        inputs={"triplet_kj": kj, "triplet_ji": ji},
        notes=[
            "Edges and triplets were handed in: radius_graph needs pyg-lib and triplets needs torch-sparse.",
            "Triplets k->j->i leave out k = i.",
            "float32: the package as it is. float64: its zeros of Bessel functions, which it rounds to float32, exact.",
            "The angle handed to the basis lies between x_j - x_i and x_k - x_j: pi minus the angle k-j-i.",
        ],
    )


if __name__ == "__main__":
    main()
