"""Model names: which there are, where they come from, and what they stand for.

Sources, in this order: the zoo's own registry, those of plugins, the user's (``$ZOO_HOME/registry.yaml``), and the
folders of ``ZOO_PATH``, each with a ``registry.yaml`` or with card folders. No source shadows another: a name that
two of them give a different meaning is an error when it is used, and is shown by ``zoo list``.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.errors import CardError, UnknownNameError, ZooError, did_you_mean
from zoo.files.zoo_home import home
from zoo.registry import host
from zoo.registry.registry_file import REGISTRY_FILE, RegistryFile, parse_pin, read_registry, write_pin

__all__ = ["Entry", "Registry", "entry", "list_models", "matching", "models", "parse_pin", "record_pin", "registry",
           "registry_of", "search_path", "show", "user_registry", "write_pin"]


@dataclass(frozen=True)
class Entry:
    """A model by name.

    Attributes:
        name: the name, never an alias.
        card_path: its card; ``None`` when only a pin is known.
        hub: ``"org/repo@<commit>"`` or ``None``.
        origin: who says so: ``"built-in"``, a plugin's package, ``"user"`` or ``"ZOO_PATH"``.
        registry: the file that says so.
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

    def card_at_hand(self) -> Card | None:
        """The card, unless it is to be had from the pinned repository only.

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
            UnknownNameError: there is none; names the nearest.
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


def registry() -> Registry:
    """Read every source now. A source that cannot be read is one of the ``problems``."""
    result = Registry()
    for path, origin in _sources():
        try:
            _merge(result, read_registry(path), origin)
        except ZooError as error:
            result.problems.append((origin, str(error)))
    for folder in search_path():
        _add_folder(result, folder)
    for alias, targets in result.aliases.items():
        for origin, target in targets.items():
            if target not in result.entries:
                result.problems.append((origin, f"alias '{alias}' stands for '{target}', which is no model"))
            elif alias in result.entries:
                problem = f"alias '{alias}' for '{target}' is a model's name too: the model wins"
                result.problems.append((origin, problem))
    return result


def models() -> dict[str, Entry]:
    """Every usable entry by name."""
    return registry().models()


def entry(name: str) -> Entry:
    """See :meth:`Registry.entry`."""
    return registry().entry(name)


def list_models(
    pattern: str = "*",
    *,
    architecture: str | None = None,
    target: str | None = None,
    dataset: str | None = None,
    plugin: str | None = None,
) -> list[str]:
    """Names of models, sorted.

    Args:
        pattern: shell-style, ``"*-qm9"``; without a wildcard, any name that contains it.
        architecture: of the card.
        target: a target, or ``"forces"`` or ``"stress"`` if trained.
        dataset: that the card says it was trained on.
        plugin: entry point or distribution that offers the architecture.

    A model whose card cannot be read is listed only when no filter asks what stands in it.
    """
    filters = (architecture, target, dataset, plugin)
    names = []
    for name, found in registry().models().items():
        if not name_matches(name, pattern):
            continue
        if any(f is not None for f in filters):
            try:
                card = found.card()
            except CardError:
                continue
            if not matching(card, architecture=architecture, target=target, dataset=dataset, plugin=plugin):
                continue
        names.append(name)
    return names


def name_matches(name: str, pattern: str) -> bool:
    """Shell-style match; a pattern without a wildcard matches any name that contains it."""
    return fnmatch.fnmatchcase(name, pattern if any(c in pattern for c in "*?[") else f"*{pattern}*")


def matching(card: Card, *, architecture: str | None, target: str | None, dataset: str | None,
             plugin: str | None) -> bool:
    """Whether a card passes the filters of :func:`list_models`."""
    if architecture is not None and card.architecture != architecture:
        return False
    if target is not None and target not in [*card.targets, *card.derivatives]:
        return False
    if dataset is not None and card.data.dataset != dataset:
        return False
    if plugin is None:
        return True
    try:
        record = host.provider(card.architecture)
    except ZooError:
        return card.requires.plugin == plugin
    return plugin in (record.name, record.dist)


def show(name: str | Path) -> Card:
    """The card of a model's name or alias, of a card file, or of a card folder.

    Raises:
        UnknownNameError: neither a name nor a path; names the nearest.
        CardError: the card cannot be read.
    """
    path = Path(str(name).removeprefix("dir:")).expanduser()
    if str(name).startswith("dir:") or path.is_file() or (path / CARD_FILE).is_file():
        return Card.load(path)
    if isinstance(name, Path) or path.suffix in (".yaml", ".yml"):
        raise UnknownNameError(f"{path}: no such card. Fix: check the path; zoo list shows the names.")
    return entry(name).card()


def user_registry() -> Path:
    """``$ZOO_HOME/registry.yaml``; it need not exist."""
    return home() / REGISTRY_FILE


def record_pin(card_folder: Path, name: str, pin: str) -> Path:
    """Record a pin in the registry of the source tree that a card folder belongs to, else in the user's.

    Returns the registry written to.

    Raises:
        CardError: not a pin, or the name means another model elsewhere, which the user's registry would contradict.
    """
    path, card = registry_of(card_folder, name)
    write_pin(path, name, pin, card=card)
    return path


def registry_of(card_folder: Path, name: str) -> tuple[Path, str]:
    """The registry that a pin of this card belongs into, and the card's path as it stands there.

    Raises:
        CardError: the name means another model elsewhere, which the user's registry would contradict.
    """
    card = card_folder.resolve() / CARD_FILE
    for folder in card.parents:
        path = folder / REGISTRY_FILE
        if path.is_file() and not _installed(folder) and os.access(folder, os.W_OK):
            return path, card.relative_to(folder).as_posix()
    path = user_registry()
    for other in registry().entries.get(name, []):
        own = other.card_path is not None and other.card_path.resolve() == card
        # An entry of the user's own whose card is gone may be written over.
        stale = other.registry == path and other.card_path is not None and not other.card_path.is_file()
        if not stale and (not own or (other.registry != path and _installed(card))):
            raise CardError(f"'{name}' is a model of {other.origin} ({other.registry}) already. Fix: if that package "
                            "is yours, copy card and weights into its source tree, over the card registered there, and "
                            "push that folder; else copy the card folder, give the copy another name and push that.")
    return path, card.as_posix()


# -- sources ----------------------------------------------------------------------------------------------------


def _sources() -> Iterator[tuple[Path, str]]:
    for path, record in host.registries():
        yield path, "built-in" if record.builtin else record.dist
    if user_registry().is_file():
        yield user_registry(), "user"
        yield from included()


def included() -> Iterator[tuple[Path, str]]:
    """Registries that the user added, and what they are called: where on the Hub they are from, else their path."""
    try:
        user = read_registry(user_registry())
    except ZooError:  # reported as a problem of the user's registry itself
        return
    for include in user.include:
        path = home() / Path(include.path).expanduser()
        yield path, f"hf:{include.hub}" if include.hub else str(path)


def search_path() -> list[Path]:
    """The folders of ``ZOO_PATH``."""
    return [Path(part).expanduser() for part in os.environ.get("ZOO_PATH", "").split(os.pathsep) if part.strip()]


def _merge(result: Registry, file: RegistryFile, origin: str) -> None:
    for name, (card_path, hub) in file.models.items():
        result.add(Entry(name, card_path, hub, origin, file.path))
    for alias, name in file.aliases.items():
        result.aliases.setdefault(alias, {})[origin] = name


def _add_folder(result: Registry, folder: Path) -> None:
    """A folder of ``ZOO_PATH``: a registry's, a card's own, or one with card folders in it."""
    if not folder.is_dir():
        result.problems.append(("ZOO_PATH", f"{folder} is no folder"))
        return
    if (folder / REGISTRY_FILE).is_file():
        try:
            _merge(result, read_registry(folder / REGISTRY_FILE), "ZOO_PATH")
        except ZooError as error:
            result.problems.append(("ZOO_PATH", str(error)))
        return
    cards = [folder] if (folder / CARD_FILE).is_file() else sorted(p.parent for p in folder.glob(f"*/{CARD_FILE}"))
    if not cards:
        result.problems.append(("ZOO_PATH", f"{folder} holds neither {REGISTRY_FILE} nor card folders"))
    for card_folder in cards:
        try:
            name = Card.load(card_folder).name
        except CardError:
            name = card_folder.name  # listed under its folder's name, with the error of its card
        result.add(Entry(name, card_folder / CARD_FILE, None, "ZOO_PATH", folder))


def _same(a: Entry, b: Entry) -> bool:
    """Whether two sources mean the same model: one card file or the same weights, without two pins; or one pin."""
    if a.card_path is not None and b.card_path is not None:
        one_pin = a.hub is None or b.hub is None or a.hub == b.hub
        return one_pin and (a.card_path.resolve() == b.card_path.resolve()
                            or _promise(a.card_path) == _promise(b.card_path) is not None)
    return a.hub is not None and a.hub == b.hub


def _promise(card_path: Path) -> str | None:
    """The hash of a model's weights, by its card."""
    try:
        card = Card.load(card_path)
    except CardError:
        return None
    return card.weights_sha256


def _conflict(name: str, found: list[Entry]) -> str:
    sources = " and ".join(f"{e.origin} ({e.registry})" for e in found)
    paths = ", ".join(str(e.card_path.parent) for e in found if e.card_path is not None)
    return f"model '{name}' means different things in {sources}: rename or remove one, or load by path: {paths}"


def _installed(path: Path) -> bool:
    """Whether a path lies in an installed package, where nothing is ever written."""
    return any(part in ("site-packages", "dist-packages") for part in path.parts)
