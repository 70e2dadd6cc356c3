"""Versions of the card's schema, and upgrades of older cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zoo.errors import CardError

__all__ = ["SCHEMA", "UPGRADES", "upgrade"]

SCHEMA = 1
"""Version of the card's schema that this zoo writes."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""How to turn plain data of schema n into schema n + 1; schema 1 is the first."""


def upgrade(data: dict[str, Any], where: str, *, upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]
            = UPGRADES, current: int = SCHEMA) -> dict[str, Any]:
    """Plain data of any older schema as data of the current one.

    Raises:
        CardError: no schema is named, it is newer than this zoo, or too old to be upgraded.
    """
    version = data.get("schema")
    if type(version) is not int:
        found = "no 'schema'" if version is None else f"schema: {version!r}"
        raise CardError(f"{where}: {found}, expected a whole number. Fix: write 'schema: {current}'.")
    if version > current:
        raise CardError(f"{where}: written for schema {version}, this zoo knows up to {current}. "
                        f"Fix: pip install -U geometric-zoo.")
    while version < current:
        if version not in upgrades:
            raise CardError(f"{where}: schema {version} is unknown. Fix: write 'schema: {current}'.")
        data = {**upgrades[version](dict(data)), "schema": version + 1}
        version += 1
    return data
