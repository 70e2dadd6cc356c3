"""Weights of other packages, turned into models of the zoo. The maps are exact: the imported model gives the same
numbers. Imports no torch until something is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.importers.model import import_model

__all__ = ["IMPORTERS", "Importer", "import_model"]


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
        "zoo.importers.pyg:schnet", "SchNet of torch-geometric", tested="torch-geometric 2.8.1"
    ),
    "pyg-dimenet": Importer(
        "zoo.importers.pyg:dimenet", "DimeNetPlusPlus of torch-geometric", ("cutoff",), "torch-geometric 2.8.1"
    ),
    "schnetpack-painn": Importer(
        "zoo.importers.schnetpack:painn", "PaiNN of schnetpack with an Atomwise head", tested="schnetpack 2.2.0"
    ),
    "nequip": Importer(
        "zoo.importers.nequip:nequip",
        "NequIPGNNModel of nequip",
        ("num_features", "parity", "avg_num_neighbors"),
        "nequip 0.19.1",
    ),
    "fairchem-gemnet": Importer(
        "zoo.importers.fairchem:gemnet",
        "GemNetT of fairchem-core 1.x with forces by differentiation",
        ("cutoff",),
        "fairchem-core 1.10.0",
    ),
}
"""What ``zoo import`` knows, by name."""


def __getattr__(name: str) -> object:
    if name == "import_model":
        from zoo.importers.model import import_model

        return import_model
    raise AttributeError(f"module 'zoo.importers' has no attribute '{name}'")
