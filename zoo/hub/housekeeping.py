"""Models and data sets of the zoo in the Hub's cache: list, verify and delete them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.cards.card import CARD_FILE, Card
from zoo.errors import CardError, WeightsError
from zoo.hub.address import Address
from zoo.hub.cache import CachedRepository, check_etag, discard, etag_of, repositories
from zoo.hub.fetching import check_weights

__all__ = ["Kept", "kept", "prune", "verify"]

STORE_FILE = "store.json"
ABANDONED = 600.0
"""Seconds without a byte after which a download counts as interrupted; all time-outs of the client are shorter."""


@dataclass(frozen=True)
class Kept:
    """A commit of a repository in the cache that is a model or a data set of the zoo.

    Attributes:
        name: of the model; the repository's for a data set or an unreadable card.
        bytes: of its files.
        whole: card and weights are both in the cache.
    """

    address: Address
    name: str
    folder: Path
    bytes: int
    whole: bool


def kept() -> Iterator[Kept]:
    """Every model and data set of the zoo in the cache; other repositories are ignored."""
    for repository in repositories():
        for commit in repository.commits():
            folder = repository.snapshot(commit)
            if (folder / CARD_FILE).exists() or (folder / STORE_FILE).exists():
                yield _describe(repository, commit, folder)


def _describe(repository: CachedRepository, commit: str, folder: Path) -> Kept:
    address = Address(repository.repo, commit, repository.kind)
    files = [p for p in folder.rglob("*") if p.is_file()]
    name, whole = address.name, any(p.suffix == ".safetensors" for p in files)
    try:
        card = Card.load(folder)
        name = card.name
        whole = card.weights is not None and (folder / card.weights.file).is_file()
    except CardError:
        pass
    return Kept(address, name, folder, sum(p.stat().st_size for p in files), whole)


def verify(one: Kept) -> list[str]:
    """Problems of the files of a commit; each file is hashed again."""
    wrong = []
    for path in sorted(p for p in one.folder.rglob("*") if p.is_symlink() or p.is_file()):
        try:
            if not path.exists():
                raise WeightsError(f"{path}: its blob is missing")
            etag = etag_of(path)
            if etag is not None:
                check_etag(path, etag)
        except WeightsError as error:
            wrong.append(str(error))
    try:
        card = Card.load(one.folder) if (one.folder / CARD_FILE).exists() else None
        if card is not None and card.weights is not None and (one.folder / card.weights.file).exists():
            check_weights(one.folder / card.weights.file, card.weights.sha256, card.weights.bytes, thorough=True)
    except (CardError, WeightsError) as error:
        if not wrong:
            wrong.append(str(error))
    return wrong


def prune(addresses: list[Address], *, dry_run: bool = False) -> tuple[int, list[str]]:
    """Delete damaged files, remains of interrupted downloads and the given commits; returns bytes and names of these.

    A blob that another commit uses is kept.
    """
    freed, gone = 0, []
    for one in kept():
        if one.address in addresses:
            freed += _remove_commit(one, dry_run)
            gone.append(str(one.address))
            continue
        for path in [p for p in one.folder.rglob("*") if p.is_symlink() and (not p.exists() or _damaged(p))]:
            freed += path.stat().st_size if path.exists() else 0
            gone.append(f"{one.address}: {path.name}, damaged")
            if not dry_run:
                discard(path)
    for path in {path for one in kept() for path in CachedRepository.of(one.address).unfinished()}:
        if time.time() - path.stat().st_mtime > ABANDONED:
            freed += path.stat().st_size
            gone.append(f"{path.name}, left by a download that was killed")
            if not dry_run:
                path.unlink(missing_ok=True)
    return freed, gone


def _damaged(path: Path) -> bool:
    etag = etag_of(path)
    try:
        if etag is not None:
            check_etag(path, etag)
    except WeightsError:
        return True
    return False


def _remove_commit(one: Kept, dry_run: bool) -> int:
    """Remove a snapshot, and the blobs that no other snapshot of the repository points to."""
    repository = CachedRepository.of(one.address)
    others = {p.resolve() for c in repository.commits() if c != one.address.revision
              for p in repository.snapshot(c).rglob("*") if p.is_file()}
    own = {p.resolve() for p in one.folder.rglob("*") if p.is_file()} - others
    size = sum(p.stat().st_size for p in own)
    if not dry_run:
        for path in one.folder.rglob("*"):
            if path.is_symlink() and path.resolve() in own:
                discard(path)
        shutil.rmtree(one.folder, ignore_errors=True)
    return size
