"""The model of a prediction that names none. Imports no torch."""

from __future__ import annotations

from zoo.errors import UnknownNameError
from zoo.registry.sources import read_all

__all__ = ["default_model", "for_other_geometries"]

MOLECULES = ("painn-qm9-anygeo", "painn-qm9")
"""For SMILES and isolated molecules, best first: trained on geometries of every kind, then the most accurate for U0
of those trained on B3LYP geometries that predict fast."""
B3LYP_ONLY = ("qm9",)
"""Data sets whose geometries are B3LYP minima."""
CRYSTALS = ("universal",)
"""For periodic structures."""


def default_model(*, periodic: bool) -> str:
    """The name of the first default model that is registered.

    Raises:
        UnknownNameError: none of them is.
    """
    found = read_all()
    names = CRYSTALS if periodic else MOLECULES
    for name in names:
        if name in found.entries or name in found.aliases:
            return name
    kind = "periodic structures" if periodic else "molecules"
    raise UnknownNameError(f"there is no default model for {kind}. Fix: name one of `zoo list`, as in "
                           f"--model {'nequip-si' if periodic else 'painn-qm9'}.")


def for_other_geometries(dataset: str | None) -> str | None:
    """The model that takes geometries of every kind, for one that was trained on B3LYP minima of ``dataset`` alone."""
    name = MOLECULES[0]
    return name if dataset in B3LYP_ONLY and name in read_all().entries else None
