"""Weights of other packages, turned into models of the zoo. The maps are exact: the imported model gives the same
numbers. Imports no torch until something is read.

Start with ``schnetpack.py``, the shortest map.
"""

from __future__ import annotations

from collections.abc import Mapping

from zoo.errors import UnknownNameError, did_you_mean
from zoo.plugin import Importer
from zoo.registry import host

__all__ = ["IMPORTERS", "importer", "importers"]

IMPORTERS = {
    "pyg-schnet": Importer(
        "zoo.foreign.pyg:schnet", "SchNet of torch-geometric", tested="torch-geometric 2.8.1"
    ),
    "pyg-dimenet": Importer(
        "zoo.foreign.pyg:dimenet", "DimeNetPlusPlus of torch-geometric", ("cutoff",), "torch-geometric 2.8.1"
    ),
    "schnetpack-painn": Importer(
        "zoo.foreign.schnetpack:painn", "PaiNN of schnetpack with an Atomwise head", tested="schnetpack 2.2.0"
    ),
    "nequip": Importer(
        "zoo.foreign.nequip:nequip",
        "NequIPGNNModel of nequip",
        ("num_features", "parity", "avg_num_neighbors"),
        "nequip 0.19.1",
    ),
    "fairchem-gemnet": Importer(
        "zoo.foreign.fairchem:gemnet",
        "GemNetT of fairchem-core 1.x with forces by differentiation",
        ("cutoff",),
        "fairchem-core 1.10.0",
    ),
    "nequix": Importer(
        "zoo.foreign.nequix:nequix", "Nequix (.nqx)", tested="nequix 0.4.5", read="zoo.foreign.nequix:read"
    ),
    "sevennet": Importer(
        "zoo.foreign.sevennet:sevennet",
        "SevenNet, checkpoints of sevenn (.pth)",
        tested="sevenn 0.13.0",
        read="zoo.foreign.sevennet:read",
        choices=("modality",),
    ),
}
"""The zoo's own importers, by name."""


def importers() -> Mapping[str, Importer]:
    """What ``zoo import`` and the sources of cards can name: the zoo's own importers, and those of plugins."""
    return {**IMPORTERS, **host.importers()}


def importer(kind: str) -> Importer:
    """The importer of this name.

    Raises:
        UnknownNameError: there is none; names the nearest.
        PluginError: two plugins offer it.
    """
    known = importers()
    if kind in known:
        return known[kind]
    try:
        offered: Importer = host.current().offer("importers", kind).value
    except UnknownNameError:
        raise UnknownNameError(f"no importer '{kind}'{did_you_mean(kind, known)} "
                               f"Fix: name one of {', '.join(known)}.") from None
    return offered
