"""From a name to a card and verified weights, wherever they are; torch-free, and the Hub's client only for the Hub.

Order: explicit folder → beside the registered card → folders of ``ZOO_PATH`` → what the card's ``source`` names, see
``sources.py`` → the Hub's cache at the pinned commit, without a request → the Hub.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.cards.sections import Weights
from zoo.errors import HubError, PluginError, UnknownNameError, WeightsError, ZooError
from zoo.files.user_paths import user_path
from zoo.files.zoo_home import home
from zoo.loading.sources import from_source
from zoo.registry import host, names
from zoo.registry.entries import Entry
from zoo.registry.sources import search_path

__all__ = ["CardFolder", "resolve"]


@dataclass(frozen=True)
class CardFolder:
    """A card and its weights.

    Attributes:
        weights: the file; its size, header and hash are what the card promises if ``verified``.
        origin: where it was found, in words.
    """

    card: Card
    weights: Path
    origin: str
    verified: bool = False

    @property
    def folder(self) -> Path:
        """Where the card lies."""
        assert self.card.folder is not None  # it was read from there
        return self.card.folder

    @property
    def promised(self) -> Weights:
        """What the card says of the file."""
        return self.card.weights_here()[1]


@dataclass
class _Chain:
    """The sources tried so far, for the error: one line a source."""

    name: str
    tried: list[str] = field(default_factory=list)

    def missed(self, source: str, reason: str) -> None:
        self.tried.append(f"  {source}: {reason}")

    def text(self) -> str:
        return "\n".join(self.tried)


def resolve(name: str | Path, *, download: bool = False) -> CardFolder:
    """Find the card and the weights of a name; the chain tried stands in the error.

    Args:
        name: a name or alias of ``zoo list``, the path of a card or its folder, ``"dir:path"``,
            ``"hf:org/repo[@revision]"``, or ``"scheme:…"`` of a plugin's fetcher.
        download: whether weights of another package may be fetched from the address in their card; what the registry
            pins on the Hub is fetched in either case.

    Raises:
        UnknownNameError: nothing has this name.
        WeightsError: the card is there, and its weights are nowhere, or are other bytes than it promises.
        HubError: they are on the Hub, which cannot be reached or does not hand them out.
    """
    text = str(name)
    if text.startswith("hf:"):
        return _from_hub(text, None)
    scheme, _, rest = text.partition(":")
    if rest and scheme != "dir" and scheme in host.fetchers():
        return _from_fetcher(scheme, rest)
    folder = user_path(text.removeprefix("dir:"))
    if text.startswith("dir:") or folder.is_dir() or folder.is_file():
        return _from_folder(folder, download=download)
    if re.fullmatch(r"[\w.-]+/[\w.@+-]+", text):
        raise UnknownNameError(f"'{text}' is neither a folder nor a name of the zoo. Fix: write 'hf:{text}' for a "
                               f"repository of the Hub, or 'dir:{text}' for a folder, and check that it exists.")
    return _from_registry(names.entry(text), download=download)


def _from_fetcher(scheme: str, rest: str) -> CardFolder:
    """A source that a plugin offers; what it fetched stays in ``$ZOO_HOME/fetched``, and is hashed when loaded."""
    folder = home() / "fetched" / scheme / hashlib.sha256(rest.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    what = f"fetcher '{scheme}' of {host.provider(scheme, 'fetchers').package}"
    fetcher = host.resolve(host.fetchers()[scheme], what)
    try:
        place = fetcher(rest, folder)
    except ZooError:
        raise
    except Exception as error:
        raise PluginError(f"{what} does not give '{rest}': {type(error).__name__}: {error}") from error
    if not isinstance(place, (str, Path)):
        raise PluginError(f"{what} gave {type(place).__name__} for '{rest}', not the folder of a card. "
                          "Fix: correct the plugin's fetcher.")
    return _from_folder(Path(place))


def _from_folder(folder: Path, *, download: bool = False) -> CardFolder:
    card = Card.load(folder)
    if _is_elsewhere(card):
        return _from_source(card, download=download)
    file, _ = card.weights_here()
    # A folder from elsewhere must not point at files of this machine.
    if file.is_symlink() and not file.resolve().is_relative_to(file.parent.resolve()):
        raise WeightsError(f"{file}: a link that leads out of the card's folder, to {file.resolve()}. "
                           "Fix: put the file itself there.")
    return CardFolder(card, file, str(file.parent))


def _is_elsewhere(card: Card) -> bool:
    """Whether a card names the source of its weights, and no file of its own is next to it."""
    return card.source is not None and (card.weights is None or not card.weights_here()[0].is_file())


def _from_source(card: Card, *, download: bool) -> CardFolder:
    found = from_source(card, download=download)
    return CardFolder(found.card, found.weights, found.origin, verified=True)


def _from_registry(entry: Entry, *, download: bool) -> CardFolder:
    chain = _Chain(entry.name)
    card = entry.local_card()
    found = _next_to_card(entry, card, chain) or _in_search_path(entry, card, chain)
    if found is not None:
        return found
    if card is not None and card.source is not None:
        try:
            return _from_source(card, download=download)
        except WeightsError as error:
            if entry.hub is None:
                raise
            chain.missed("its source", str(error).splitlines()[0])
    if entry.hub is None:
        chain.missed("the Hub", f"{entry.registry} ({entry.origin}) pins no repository for it")
        fix = "ask its authors for them" if entry.card_path is None else f"train it with zoo train {entry.card_path}"
        raise WeightsError(f"'{entry.name}' has no weights:\n{chain.text()}\nFix: {fix}.")
    try:
        return _from_hub(f"hf:{entry.hub}", None if card is None or card.weights is None else card)
    except HubError as error:
        chain.missed("the Hub", str(error))
        raise type(error)(f"'{entry.name}' cannot be had:\n{chain.text()}") from error


def _next_to_card(entry: Entry, card: Card | None, chain: _Chain) -> CardFolder | None:
    if card is None:
        chain.missed(entry.origin, f"{entry.registry} knows its weights by their pin only")
    elif card.weights is None:
        chain.missed(entry.origin, f"{card.path} describes a model without weights")
    elif not (file := card.weights_here()[0]).is_file():
        chain.missed(entry.origin, f"{file.parent} holds no {file.name}")
    else:
        return _from_folder(file.parent)
    return None


def _in_search_path(entry: Entry, card: Card | None, chain: _Chain) -> CardFolder | None:
    """A folder of ``ZOO_PATH`` that holds the weights which the registered card promises."""
    folders = search_path()
    if not folders:
        chain.missed("ZOO_PATH", "not set")
    for folder in folders:
        here = folder if folder.name == entry.name else folder / entry.name
        if not (here / CARD_FILE).is_file():
            chain.missed("ZOO_PATH", f"{folder} has no card folder {entry.name}")
            continue
        if _is_elsewhere(Card.load(here)):
            chain.missed("ZOO_PATH", f"{here} names the source of its weights and holds none")
            continue
        found = _from_folder(here)
        promised = found.promised.sha256
        if card is not None and card.weights_sha256 is not None and promised != card.weights_sha256:
            chain.missed("ZOO_PATH", f"{here} holds other weights: sha256 {promised}, not {card.weights_sha256}")
            continue
        return found
    return None


def _from_hub(text: str, expected: Card | None) -> CardFolder:
    from zoo import hub

    found = hub.fetch(text, expected)
    return CardFolder(found.card, found.weights, str(found.address), verified=True)
