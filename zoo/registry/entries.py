"""Entries of all registries together: one model per name, or a conflict."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo.cards.card import Card
from zoo.errors import CardError, UnknownNameError, did_you_mean
from zoo.registry import host

__all__ = ["Entry", "Registry"]


@dataclass(frozen=True)
class Entry:
    """A model by name.

    Attributes:
        name: the name, never an alias.
        card_path: its card; ``None`` if only a pin is known.
        hub: ``"org/repo@<commit>"`` or ``None``.
        origin: where the entry comes from: ``"built-in"``, a plugin's package, ``"user"`` or ``"ZOO_PATH"``.
        registry: the file that lists it.
    """

    name: str
    card_path: Path | None
    hub: str | None
    origin: str
    registry: Path

    def card(self) -> Card:
        """Read the card.

        Raises:
            CardError: missing, malformed, of another name, or not on this machine.
        """
        if self.card_path is None:
            raise CardError(f"'{self.name}' is known by its pin {self.hub} only, its card is not on this machine. "
                            f"Fix: zoo pull {self.name}.")
        card = Card.load(self.card_path)
        if card.name != self.name:
            raise CardError(f"{card.where('name')}: '{card.name}', but {self.registry} lists this card as "
                            f"'{self.name}'. Fix: use one name in both.")
        return card

    def local_card(self) -> Card | None:
        """The card; ``None`` if the model, or its weights, exist only on the Hub.

        Raises: as :meth:`card`.
        """
        if self.card_path is None or (self.hub is not None and not self.card_path.is_file()):
            return None
        card = self.card()
        return None if self.hub is not None and card.weights_sha256 is None else card


@dataclass
class Registry:
    """All sources together. ``problems`` are (origin, message) of sources and aliases that cannot be used."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        known = self.entries.setdefault(entry.name, [])
        for index, other in enumerate(known):
            if _same(entry, other):
                known[index] = replace(other, hub=other.hub or entry.hub,
                                       card_path=other.card_path or entry.card_path)
                return
        known.append(entry)

    def models(self) -> dict[str, Entry]:
        """Entries by name, sorted; names with two meanings are left out."""
        return {name: found[0] for name, found in sorted(self.entries.items()) if len(found) == 1}

    def conflicts(self) -> dict[str, str]:
        """Names with two meanings, and the error that using one gives."""
        return {name: _conflict(name, found) for name, found in sorted(self.entries.items()) if len(found) > 1}

    def aliases_of(self, name: str) -> list[str]:
        return sorted(alias for alias, targets in self.aliases.items() if set(targets.values()) == {name})

    def entry(self, name: str) -> Entry:
        """The model of a name or alias.

        Raises:
            UnknownNameError: there is none; the error suggests similar names.
            CardError: two sources give the name different meanings.
        """
        if name not in self.entries and name in self.aliases:
            targets = self.aliases[name]
            if len(set(targets.values())) > 1:
                meanings = ", ".join(f"'{target}' in {origin}" for origin, target in targets.items())
                raise CardError(f"alias '{name}' has several meanings: {meanings}. Fix: use the full name.")
            name = next(iter(targets.values()))
        found = self.entries.get(name, [])
        if len(found) > 1:
            raise CardError(_conflict(name, found))
        if not found:
            raise UnknownNameError(self._unknown(name))
        return found[0]

    def _unknown(self, name: str) -> str:
        text = f"no model '{name}'{did_you_mean(name, [*self.entries, *self.aliases], n=3)}"
        architectures = host.architectures()
        if name in architectures:
            text += f" It is an architecture: zoo show {name}, or zoo.create('{name}') for an untrained model."
        else:
            text += " All names: zoo list"
        return "\n".join([text, *(f"  {origin}: {problem}" for origin, problem in self.problems)])


def _same(a: Entry, b: Entry) -> bool:
    """Whether two sources list the same model: one card file or the same weights, without two pins; or one pin."""
    if a.card_path is not None and b.card_path is not None:
        one_pin = a.hub is None or b.hub is None or a.hub == b.hub
        return one_pin and (a.card_path.resolve() == b.card_path.resolve()
                            or _weights_hash(a.card_path) == _weights_hash(b.card_path) is not None)
    return a.hub is not None and a.hub == b.hub


def _weights_hash(card_path: Path) -> str | None:
    """The hash of the weights in a card."""
    try:
        card = Card.load(card_path)
    except CardError:
        return None
    return card.weights_sha256


def _conflict(name: str, found: list[Entry]) -> str:
    sources = " and ".join(f"{e.origin} ({e.registry})" for e in found)
    paths = ", ".join(str(e.card_path.parent) for e in found if e.card_path is not None)
    return f"model '{name}' means different things in {sources}: rename or remove one, or load by path: {paths}"
