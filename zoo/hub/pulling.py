"""Download a model: into the Hub's cache, or as a card folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.cards.weights import check_hash
from zoo.errors import HubError, ZooError
from zoo.hub.address import PREFIX, Address, safe_path
from zoo.hub.cache import CachedRepository
from zoo.hub.fetching import CONFIG_FILE, Fetched, fetch, fetch_file, inside_cache
from zoo.hub.network import api, ask, is_offline, timeout
from zoo.hub.notices import notify
from zoo.hub.repository import EXTRA_NAMES, EXTRA_SUFFIXES
from zoo.hub.trouble import TooLargeError
from zoo.registry import names

__all__ = ["Pulled", "place", "pull"]


@dataclass(frozen=True)
class Pulled:
    """A model on this machine.

    Attributes:
        card: its card.
        folder: with card and weights; ``zoo.load`` accepts it.
        address: its address on the Hub; ``None`` for a model that was on this machine already.
        left_out: files of the repository that were not downloaded, and why.
        origin: of converted weights: the file that they were converted from, in words.
    """

    card: Card
    folder: Path
    address: Address | None
    left_out: dict[str, str]
    origin: str = ""


def pull(name: str, to: str | Path | None = None, *, force: bool = False) -> Pulled:
    """Download a model and verify its hashes, also those of files that were in the cache already.

    Args:
        name: a name of ``zoo list``, or ``"hf:org/repo[@revision]"``.
        to: also write the card folder ``to/<model>``; by default the model is only in the Hub's cache.
        force: replace a folder with other content.

    Raises:
        UnknownNameError: no such model.
        HubError, WeightsError, CardError: as :func:`zoo.hub.fetch`.
    """
    if name.startswith(PREFIX):
        found = fetch(name, thorough=True)
    else:
        entry = names.entry(name)
        card = entry.local_card()
        here = _on_this_machine(card)
        if here is not None:
            folder = here if to is None else place(_files(here, Card.load(here)), Path(to) / entry.name, force)
            return Pulled(Card.load(folder), folder, None, {})
        if entry.hub is None:
            raise HubError(f"'{name}' has no pin in {entry.registry}: it is not on the Hub\n"
                           f"  Fix: zoo push {name} ORGANISATION/{name}, or give hf:organisation/name")
        found = fetch(f"{PREFIX}{entry.hub}", card, thorough=True)
    if to is None:
        return Pulled(found.card, found.weights.parent, found.address, {})
    own = _own_files(found)
    extra, left_out = _extra_files(found.address, own)
    files = {**extra, **own}
    return Pulled(found.card, place(files, Path(to) / found.card.name, force), found.address, left_out)


def _on_this_machine(card: Card | None) -> Path | None:
    """The folder of a card with its weights, after they are verified."""
    if card is None or card.weights is None or not card.weights_here()[0].is_file():
        return None
    return _verified(card).parent


def _verified(card: Card) -> Path:
    file, promised = card.weights_here()
    check_hash(file, sha256=promised.sha256, size=promised.bytes)
    return file


def _own_files(found: Fetched) -> dict[str, Path]:
    assert found.card.path is not None, "it was read from a file"
    return {CARD_FILE: found.card.path, found.card.weights_here()[0].name: found.weights}


def _files(folder: Path, card: Card) -> dict[str, Path]:
    names = [p.name for p in folder.iterdir() if p.is_file() and not p.is_symlink() and _is_extra(p.name)]
    return {name: folder / name for name in [*names, CARD_FILE, card.weights_here()[0].name]}


def _is_extra(name: str) -> bool:
    return name in EXTRA_NAMES or name.endswith(EXTRA_SUFFIXES) or name == CONFIG_FILE


def _extra_files(address: Address, taken: Iterable[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """README, plots and the like of a repository; offline, those in the cache."""
    cached = CachedRepository.of(address).snapshot(address.revision)
    if is_offline():
        return {p.name: p for p in sorted(cached.glob("*")) if p.is_file() and _is_extra(p.name)}, {}
    info = ask(lambda: api().model_info(address.repo, revision=address.revision, timeout=timeout()), address, "listing")
    files, left_out = {}, {}
    for sibling in info.siblings or []:
        name = sibling.rfilename
        if name in taken or name.startswith("."):
            continue
        try:
            safe_path(name, str(address))
        except HubError as error:
            left_out[name] = str(error)
            continue
        if "/" in name or not _is_extra(name):
            left_out[name] = "not part of a model"
        else:
            try:
                files[name] = fetch_file(address, name, inside_cache)
            except TooLargeError as error:
                left_out[name] = str(error)
    return files, left_out


def place(files: dict[str, Path], folder: Path, force: bool) -> Path:
    """Copy files into a new folder, which appears by rename; a folder with the same model is left as it is."""
    if folder.exists():
        if _holds(folder, files):
            return folder
        if not force:
            raise HubError(f"{folder} exists and holds something else\n"
                           "  Fix: give another folder, or --force to replace it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        for name, source in files.items():
            shutil.copyfile(source, partial / name)
        _verified(Card.load(partial))
        _swap(partial, folder)
    except OSError as error:
        raise HubError(f"{folder} cannot be written: {error.strerror or error}\n"
                       "  Fix: give a folder with space that is yours") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _holds(folder: Path, files: dict[str, Path]) -> bool:
    try:
        there, wanted = Card.load(folder), Card.load(files[CARD_FILE])
        if there != wanted:
            return False
        _verified(there)
    except ZooError:
        return False
    return True


def _swap(new: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    if old.is_dir():
        shutil.rmtree(old)
        notify(f"zoo: replaced {folder}")
