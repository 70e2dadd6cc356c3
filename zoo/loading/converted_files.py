"""What ``$ZOO_HOME`` keeps of other packages' weights: list it, and delete what is of no use. Torch-free."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.cards.weights import check_hash
from zoo.errors import WeightsError, ZooError
from zoo.files.zoo_home import home
from zoo.loading.sources import CONVERTED, DOWNLOADED, WEIGHTS_FILE
from zoo.registry import names

__all__ = ["ConvertedFile", "converted_files", "prune_converted"]


@dataclass(frozen=True)
class ConvertedFile:
    """The converted weights of a card with a source.

    Attributes:
        name: of the card.
        folder: a card folder.
        bytes: of its files.
        state: ``"whole"``, ``"damaged"``, or ``"outdated"`` if the card of this name promises other weights by now.
    """

    name: str
    folder: Path
    bytes: int
    state: Literal["whole", "damaged", "outdated"]


def converted_files() -> list[ConvertedFile]:
    """Every conversion, hashed."""
    promised = _promised()
    found = []
    for file in sorted((home() / CONVERTED).glob(f"*/{WEIGHTS_FILE}")):
        name, _, start = file.parent.name.rpartition("-")
        sha256 = promised.get(name)
        outdated = sha256 is not None and not sha256.startswith(start)
        state: Literal["whole", "damaged", "outdated"] = "outdated" if outdated else "whole"
        if sha256 is not None and not outdated:
            try:
                check_hash(file, sha256=sha256)
            except WeightsError:
                state = "damaged"
        found.append(ConvertedFile(name, file.parent, _size(file.parent), state))
    return found


def prune_converted(*, dry_run: bool = False) -> tuple[int, list[str]]:
    """Delete damaged and outdated conversions, and downloaded files, which nobody needs once they are converted.

    Returns bytes freed and what went.
    """
    unneeded = [(one.folder, f"{one.name}: {one.folder}, {one.state}") for one in converted_files()
                if one.state != "whole"]
    unneeded += [(folder, f"{folder}, downloaded and converted") for folder in sorted((home() / DOWNLOADED).glob("*"))]
    freed = sum(_size(folder) for folder, _ in unneeded)
    if not dry_run:
        for folder, _ in unneeded:
            shutil.rmtree(folder, ignore_errors=True)
    return freed, [line for _, line in unneeded]


def _promised() -> dict[str, str]:
    """The hash of every registered conversion, by name."""
    found = {}
    for name, entry in names.models().items():
        try:
            source = entry.card().source
        except ZooError:
            continue
        if source is not None:
            found[name] = source.converted_sha256
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
