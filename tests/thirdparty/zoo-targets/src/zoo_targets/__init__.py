"""Two readouts, a charge per atom and a polarizability tensor, and data for both. Hooks only: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zoo.plugin import DatasetSpec, hookimpl


@hookimpl
def zoo_readouts() -> Mapping[str, str]:
    return {"site_charge": "zoo_targets.readouts:SiteCharge", "alpha": "zoo_targets.readouts:Alpha"}


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    return [DatasetSpec(name="bond-charges", factory="zoo_targets.data:open_bond_charges",
                        summary="small molecules with charges and polarizabilities made of their bonds",
                        targets={"q": "e", "alpha": "Å^3"}, theory="a formula", license="CC0-1.0")]


@hookimpl
def zoo_registries() -> list[Path]:
    return [Path(__file__).parent / "registry.yaml"]
