"""The built-in architectures in the order of the geometry that a message depends on, and the order of their models."""

from __future__ import annotations

__all__ = ["FAMILIES", "model_order"]

FAMILIES = ("schnet", "dimenet", "gemnet", "painn", "nequip")


def model_order(name: str) -> tuple[str, int]:
    """Sort key of model names: models of one data set together, and among these in the order of :data:`FAMILIES`."""
    family, _, dataset = name.partition("-")
    return dataset, FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
