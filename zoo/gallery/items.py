"""What the gallery tells of a model, read from its card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from zoo.cards.card import DERIVATIVES, Card
from zoo.cards.headline import headline_text
from zoo.cards.measured import Structure
from zoo.errors import ZooError
from zoo.properties.card_results import describe
from zoo.registry.entries import Entry
from zoo.registry.purposes import best_first, purpose
from zoo.registry.sources import read_all

__all__ = ["Item", "all_items", "groups"]

_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_PICTURE = 2 << 20  # bytes


@dataclass(frozen=True)
class Item:
    """A model of the gallery.

    Attributes:
        card: its card.
        origin: the registry it is from: ``"built-in"``, a plugin's package, ``"user"`` or ``"ZOO_PATH"``.
        aliases: other names.
        hub: ``"org/repo@<commit>"`` if it has been pushed.
    """

    card: Card
    origin: str
    aliases: tuple[str, ...] = ()
    hub: str | None = None

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def purpose(self) -> str:
        return purpose(self.card)

    @property
    def error(self) -> str:
        return headline_text(self.card)

    @property
    def units(self) -> dict[str, str]:
        """Unit of each target and derivative, by name."""
        return {name: spec.unit for name, spec in self.card.targets.items()} | {
            name: DERIVATIVES[name] for name in self.card.derivatives}

    @property
    def errors(self) -> list[dict[str, Any]]:
        """For each target and derivative its MAE and RMSE on the test split, where they were measured."""
        found = {(m.target, m.metric): m for m in self.card.metrics if m.split == "test"}
        rows = []
        for name in self.units:
            mae, rmse = found.get((name, "mae")), found.get((name, "rmse"))
            known = mae or rmse
            if known is not None:
                rows.append({"name": name, "mae": mae, "rmse": rmse, "n": known.n, "by": f"{known.by}, {known.date}"})
        return rows

    @property
    def errors_for_filter(self) -> dict[str, float]:
        """Test MAE by target, in the units that :attr:`error_units` names."""
        return {row["name"]: row["mae"].value for row in self.errors if row["mae"] is not None}

    @property
    def error_units(self) -> dict[str, str]:
        return {row["name"]: row["mae"].unit for row in self.errors if row["mae"] is not None}

    @property
    def intervals(self) -> list[dict[str, Any]]:
        """How often the 90 % intervals of the card hold, for each split it was measured on."""
        section = self.card.uncertainty
        if section is None or isinstance(section, str) or section.weights != self.card.weights_sha256:
            return []
        return [{"split": one.split, "n": one.n, "level": section.level, "outside": one.outside,
                 "rows": [(name, one.coverage[name], one.width.get(name)) for name in one.coverage]}
                for one in section.measured]

    @property
    def uncertainty(self) -> str:
        """What the card says of error estimates in words."""
        return self.card.uncertainty if isinstance(self.card.uncertainty, str) else ""

    @property
    def stability(self) -> list[str]:
        """What ``zoo lab`` measured, a line each."""
        found = self.card.stability
        return [] if found is None else (found if isinstance(found, str) else describe(found)).splitlines()

    @property
    def homepage(self) -> str | None:
        """The authors' page, if it is an address of the web."""
        address = self.card.source.homepage if self.card.source is not None else None
        return address if address and urlsplit(address).scheme in ("http", "https") else None

    @property
    def get(self) -> str | None:
        """The command without which its weights are not there."""
        if self.card.source is not None:
            return f"zoo pull {self.name}" if self.card.source.url else self.card.source.install
        here = self.card.folder is not None and self.card.weights is not None and (
            self.card.folder / self.card.weights.file).is_file()
        return f"zoo pull {self.name}" if self.hub and not here else None

    def picture(self) -> bytes | None:
        """The parity plot beside the card, if it is a PNG file of a reasonable size."""
        path = None if self.card.folder is None else self.card.folder / "parity.png"
        if path is None or path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_PICTURE:
            return None
        data = path.read_bytes()
        return data if data.startswith(_PNG) else None

    def structure(self) -> dict[str, Any] | None:
        """Symbols, positions (Å) and cell of the first reference structure, for the picture that turns."""
        for reference in self.card.golden:
            found = reference.structure
            if isinstance(found, Structure):
                return {"symbols": found.symbols, "positions": found.positions, "cell": found.cell}
            with suppress(KeyError):
                from ase.build import molecule

                atoms = molecule(found)
                return {"symbols": atoms.get_chemical_symbols(), "positions": atoms.positions.round(4).tolist(),
                        "cell": None}
        return None


def all_items() -> tuple[list[Item], list[str]]:
    """Every model whose card can be read, best first within what it is for; and what is wrong with the others."""
    found = read_all()
    items, problems = [], [f"{name}: {text}" for name, text in found.conflicts().items()]
    for entry in found.models().values():
        try:
            items.append(_item(entry, found.aliases_of(entry.name)))
        except ZooError as error:
            problems.append(f"{entry.name}: {error}")
    return sorted(items, key=lambda item: best_first(item.card)), problems


def _item(entry: Entry, aliases: list[str]) -> Item:
    return Item(entry.card(), entry.origin, tuple(aliases), entry.hub)


def groups(items: list[Item]) -> Iterator[tuple[str, list[Item]]]:
    """Items by purpose, in their order."""
    for kind in dict.fromkeys(item.purpose for item in items):
        yield kind, [item for item in items if item.purpose == kind]
