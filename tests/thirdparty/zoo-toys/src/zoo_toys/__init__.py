"""A readout, a data set, a listener, a source of models, and an importer. Hooks only: no torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.plugin import DatasetSpec, Importer, hookimpl


@hookimpl
def zoo_readouts() -> Mapping[str, str]:
    return {"peak": "zoo_toys.readouts:Peak"}


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    return [DatasetSpec(name="morse", factory="zoo_toys.data:open_morse", summary="diatomic molecules, stretched",
                        targets={"energy": "eV", "level": "eV"}, theory="Morse potential", license="CC0-1.0")]


@hookimpl
def zoo_fetchers() -> Mapping[str, str]:
    return {"drawer": "zoo_toys.drawer:fetch"}


@hookimpl
def zoo_importers() -> Mapping[str, Importer]:
    return {"toynet": Importer("zoo_toys.foreign:toynet", "networks of toynet")}


@hookimpl
def zoo_registries() -> list[Path]:
    return [Path(__file__).parent / "registry.yaml"]


@hookimpl
def zoo_train_event(event: str, state: Mapping[str, Any]) -> None:
    diary = os.environ.get("TOYS_DIARY")
    if diary:
        with open(diary, "a", encoding="utf-8") as file:
            file.write(json.dumps({**state, "event": event}, default=float) + "\n")
