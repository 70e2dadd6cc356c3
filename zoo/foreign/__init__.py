"""Weights of other packages, turned into models of the zoo. The maps are exact: the imported model gives the same
numbers. Imports no torch until something is read.

Start with ``schnetpack.py``, the shortest map.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IMPORTERS", "Importer"]


@dataclass(frozen=True)
class Importer:
    """One foreign model class.

    Attributes:
        factory: ``"module:function"``, called as ``function(state: ForeignState) -> Imported``.
        summary: whose weights these are.
        needs: configuration that the weights do not hold and the user has to give.
        tested: release of the other package whose outputs the tests compare with.
    """

    factory: str
    summary: str
    needs: tuple[str, ...] = ()
    tested: str = ""


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
}
"""What ``zoo import`` knows, by name."""
