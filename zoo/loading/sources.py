"""Weights of other packages that a card names under ``source``: found, fetched, verified, converted once and kept.

Order: what was converted before, in ``$ZOO_HOME/converted`` → the foreign file in an installed package → the foreign
file as it was downloaded before → a download, if it is asked for. Torch-free until something is converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.cards.card import Card
from zoo.cards.source import Source
from zoo.cards.weights import check_hash
from zoo.errors import WeightsError, ZooError
from zoo.files.user_paths import user_path
from zoo.files.zoo_home import home
from zoo.foreign.installed import file_of_package, installed_version

__all__ = ["Availability", "Converted", "availability", "from_source", "source_of"]

WEIGHTS_FILE = "model.safetensors"
CONVERTED, DOWNLOADED = "converted", "sources"
"""Folders in ``$ZOO_HOME``."""


@dataclass(frozen=True)
class Converted:
    """Weights of a source as a file of the zoo, verified.

    Attributes:
        card: with the promise about ``weights``; it is where it was before.
        weights: the converted file.
        origin: where the weights are from, in words.
    """

    card: Card
    weights: Path
    origin: str


@dataclass(frozen=True)
class Availability:
    """Where the weights of a source are at present; nothing is read for it.

    Attributes:
        state: ``"converted"`` or ``"downloaded"`` on this machine, ``"package"`` in an installed package, or
            ``"absent"``.
        where: the same in words.
        command: what brings them, if they are absent.
    """

    state: Literal["converted", "package", "downloaded", "absent"]
    where: str
    command: str


def availability(card: Card) -> Availability:
    """Where the weights of a card with a source are, for tables; neither hashed nor fetched."""
    source = source_of(card)
    command = f"zoo pull {card.name}"
    if _converted(card).is_file():
        return Availability("converted", str(_converted(card)), command)
    if source.package is not None and _in_package(source) is None:
        return Availability("package", f"in {_package(source)}", command)
    if _downloaded(source).is_file():
        return Availability("downloaded", str(_downloaded(source)), command)
    places = [text for text in (source.package and f"in {source.package}", source.url) if text]
    return Availability("absent", " or ".join(places), command if source.url else source.install or command)


def from_source(card: Card, *, download: bool = False, file: Path | None = None) -> Converted:
    """The converted weights of a card with a source.

    Args:
        download: fetch the foreign file from its address if it is not on this machine.
        file: the foreign file, from wherever the user has it; nothing else is tried.

    Raises:
        WeightsError: the weights are not to be had, with every place that was tried; or a file has other bytes than the
            card promises; or the conversion gives another model than the card describes.
        HubError: the address cannot be reached or refuses.
    """
    source, target = source_of(card), _converted(card)
    if file is not None:
        return _convert(card, _given(card, file), target)
    tried: list[str] = []
    if target.is_file():
        try:
            check_hash(target, sha256=source.converted_sha256)
            return _promised(card, target, f"{target}, converted from {source.file}")
        except WeightsError as error:
            tried.append(_line(str(error)))
    for place in (_from_package, _from_earlier_download):
        try:
            found = place(source)
        except WeightsError as error:
            tried.append(_line(str(error)))
            continue
        if found is not None:
            return _convert(card, found, target)
    if source.url is not None and download:
        return _convert(card, _fetch(card), target)
    if source.url is not None:
        tried.append(f"{source.url}: not downloaded, which only zoo pull and zoo.load(…, download=True) do")
    raise WeightsError(_nowhere(card, tried))


def source_of(card: Card) -> Source:
    """The card's source.

    Raises:
        WeightsError: it has none.
    """
    if card.source is None:
        raise WeightsError(f"{card.name} has no source: its weights are the zoo's own. Fix: zoo pull {card.name}, "
                           "without --file.")
    return card.source


# -- places -----------------------------------------------------------------------------------------------------


def _converted(card: Card) -> Path:
    return home() / CONVERTED / f"{card.name}-{source_of(card).converted_sha256[:12]}" / WEIGHTS_FILE


def _downloaded(source: Source) -> Path:
    return home() / DOWNLOADED / source.sha256[:12] / source.file


def _package(source: Source) -> str:
    requirement = source.requirement
    assert requirement is not None  # asked for packages only
    return f"{requirement[0]} {installed_version(requirement[0])}"


def _in_package(source: Source) -> str | None:
    """Why the foreign file is in no installed package; ``None`` if it is in one."""
    assert source.requirement is not None and source.path is not None and source.install is not None
    try:
        file_of_package(*source.requirement, source.path, source.install)
    except WeightsError as error:
        return str(error)
    return None


def _from_package(source: Source) -> Path | None:
    if source.requirement is None or source.path is None or source.install is None:
        return None
    found = file_of_package(*source.requirement, source.path, source.install)
    again = source.install.replace("pip install", "pip install --force-reinstall", 1)
    check_hash(found, sha256=source.sha256, size=source.bytes, fix=again)
    return found


def _from_earlier_download(source: Source) -> Path | None:
    found = _downloaded(source)
    if not found.is_file():
        return None
    check_hash(found, sha256=source.sha256, size=source.bytes)
    return found


def _fetch(card: Card) -> Path:
    from zoo.hub.urls import fetch_url

    source = source_of(card)
    assert source.url is not None  # asked for sources with an address only
    return fetch_url(source.url, _downloaded(source), sha256=source.sha256, size=source.bytes,
                     command=f"zoo pull {_called(card)}")


def _given(card: Card, file: Path) -> Path:
    """A file that the user has, once it is the one that the card names."""
    source, file = source_of(card), user_path(file)
    where = source.url or source.homepage or source.install
    other = _whose(file) if file.is_file() else None
    fix = f"zoo pull {other} --file {file}, whose file this is" if other else f"give {source.file} as it is at {where}"
    check_hash(file, sha256=source.sha256, size=source.bytes, fix=fix)
    return file


def _whose(file: Path) -> str | None:
    """The registered model whose foreign file this is."""
    from zoo.files.hashing import sha256_of
    from zoo.registry import names

    size = file.stat().st_size
    for name, entry in names.models().items():
        try:
            source = entry.card().source
        except ZooError:
            continue
        if source is not None and source.bytes == size and source.sha256 == sha256_of(file):
            return name
    return None


# -- conversion -------------------------------------------------------------------------------------------------


def _convert(card: Card, file: Path, target: Path) -> Converted:
    from zoo.hub.notices import notify
    from zoo.loading.converting import convert

    if not (target.is_file() and _has(target, source_of(card).converted_sha256)):
        notify(f"zoo: converting {file.name} to {card.name}")
        convert(card, file, target)
    return _promised(card, target, f"converted from {file}")


def _has(file: Path, sha256: str) -> bool:
    try:
        check_hash(file, sha256=sha256)
    except WeightsError:
        return False
    return True


def _promised(card: Card, file: Path, origin: str) -> Converted:
    """The card with what it promises of the converted file, which has been verified."""
    source = source_of(card)
    weights = {"file": file.name, "sha256": source.converted_sha256, "bytes": file.stat().st_size,
               "parameters": source.parameters}
    return Converted(card.replace(weights=weights), file, origin)


# -- words ------------------------------------------------------------------------------------------------------


def _called(card: Card) -> str:
    """What commands call the card: its name, if that is registered as this card, else its folder."""
    from zoo.registry.sources import read_all

    try:
        known = read_all().entries.get(card.name, [])
    except ZooError:
        known = []
    here = card.path is None or any(e.card_path is not None and e.card_path.resolve() == card.path.resolve()
                                    for e in known)
    return card.name if here or card.folder is None else str(card.folder)


def _line(error: str) -> str:
    """An error's first line without its fix: the fix stands at the end of the whole."""
    return error.splitlines()[0].partition(" Fix: ")[0].rstrip(".")


def _nowhere(card: Card, tried: list[str]) -> str:
    source, called = source_of(card), _called(card)
    listed = "".join(f"\n  {line}" for line in tried)
    ways = [] if source.url is None else [f"zoo pull {called}"]
    if source.install is not None:
        wrong = any("expected" in line or "no file" in line for line in tried)
        ways.append(source.install.replace("pip install", "pip install --force-reinstall", 1) if wrong
                    else source.install)
    ways.append(f"zoo pull {called} --file PATH if you have {source.file}")
    return (f"'{card.name}' takes its weights from {source.file}, which is not on this machine:{listed}\n"
            f"Fix: {', or '.join(ways)}.")
