"""Networks for experiments: any architecture with random weights and a chosen depth, or a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from zoo.errors import UnknownNameError
from zoo.lab.pairs import NETWORK_CUTOFF
from zoo.loading.models import create, load
from zoo.model.model import Model
from zoo.registry import host

__all__ = ["Probe", "probe"]

_NARROW: Mapping[str, Mapping[str, Any]] = {
    "schnet": {"channels": 32, "num_filters": 32, "num_radial": 16},
    "dimenet": {"hidden": 32, "int_emb": 16, "out_emb": 16, "num_spherical": 5, "num_radial": 4, "output_layers": 1},
    "gemnet": {
        "num_spherical": 5, "num_radial": 4, "emb_atom": 32, "emb_edge": 32, "emb_trip": 16, "emb_quad": 16,
        "emb_rbf": 8, "emb_cbf": 8, "emb_sbf": 8, "bil_trip": 16, "bil_quad": 16, "atom": 1,
    },
    "painn": {"channels": 32, "num_radial": 16},
    # Both parities up to the output, which is needed to distinguish mirror images.
    "nequip": {
        "lmax": 2, "parity": True, "num_features": 8, "output_parity": True, "radial_width": 16,
        "avg_num_neighbors": 4.0,
    },
}
"""Small widths for speed; expressivity does not depend on them."""

_ELEMENTS = ("H", "C", "N", "O", "F")


@dataclass(frozen=True)
class Probe:
    """A network for experiments.

    Attributes:
        name: an architecture, or a trained model.
        depth: keyword of the number of layers, as the architecture declares it; ``None`` if it cannot be chosen.
        config: all other keywords of the backbone.
        trained: the trained model in float64; ``None`` for an architecture.
    """

    name: str
    depth: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    trained: Model | None = None

    def takes(self, keyword: str) -> bool:
        """Whether the backbone can be built with this keyword."""
        return self.trained is None and keyword in host.parameters(self.name)

    def model(
        self, *, layers: int | None = None, seed: int = 0, dtype: str = "float64",
        targets: Mapping[str, Mapping[str, Any]] | None = None, **changes: Any,
    ) -> Model:
        """A model with random weights, in eval mode, or the trained one; the random state is not changed.

        Args:
            layers: depth, if it can be chosen.
            targets: as for :func:`zoo.loading.models.create`.
            **changes: keywords of the backbone that override :attr:`config`.
        """
        if self.trained is not None:
            return self.trained
        config = {**self.config, **changes}
        if layers is not None and self.depth is not None:
            config[self.depth] = layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return create(self.name, elements=_ELEMENTS, targets=targets, dtype=dtype, **config).eval()

    def depths(self, wanted: Sequence[int]) -> list[int | None]:
        """The depths to try, or only ``None`` if the depth cannot be chosen."""
        return list(wanted) if self.depth is not None else [None]


def probe(name: str, *, cutoff: float = NETWORK_CUTOFF) -> Probe:
    """The architecture of this name, or else the trained model.

    Raises:
        UnknownNameError: there is neither.
    """
    known = host.architectures()
    if name not in known:
        try:
            return Probe(name, trained=load(name, dtype="float64"))
        except UnknownNameError as error:
            raise UnknownNameError(f"no architecture '{name}' (known are {', '.join(known)}), and no model: "
                                   f"{error}\nFix: choose an architecture, or a trained model of zoo list") from None
    arch = known[name]
    config = {**_NARROW.get(name, arch.presets.get("small", {})), **dict.fromkeys(arch.cutoffs, cutoff)}
    return Probe(name, arch.depth, config)
