"""From an address to verified files: from the cache, at a commit without any request, else from the Hub."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo.cards import weights
from zoo.cards.card import CARD_FILE, Card
from zoo.errors import CardError, HubError, WeightsError
from zoo.files.bounded_reads import read_json
from zoo.files.yaml_loader import MAX_BYTES
from zoo.hub.address import UNSAFE, Address, is_commit, safe_path
from zoo.hub.cache import CachedRepository, Verdicts, cache_folder, check_etag, discard, etag_of
from zoo.hub.network import TRIES, Remote, api, head, is_offline, timeout, wait_before
from zoo.hub.notices import notify
from zoo.hub.trouble import AccessError, TooLargeError, UnreachableError, explain, is_passing
from zoo.hub.waiting import limited_waits

__all__ = ["CONFIG_FILE", "Fetched", "card_of", "fetch", "fetch_file", "locate", "pin"]

CONFIG_FILE = "config.json"
MOST = 100_000_000
"""Bytes of a file whose size nothing promises."""
Check = Callable[[Path], None]


@dataclass(frozen=True)
class Fetched:
    """A model from the Hub: its card, its verified weights, and the commit they are from."""

    card: Card
    weights: Path
    address: Address


def fetch(text: str, expected: Card | None = None, *, thorough: bool = False) -> Fetched:
    """The model at an address such as ``hf:org/name@v1.0``.

    Args:
        expected: a local card, whose hash of the weights is used instead of that in the repository.
        thorough: hash cached weights even if they have not been touched since the last check.

    Raises:
        HubError: the Hub cannot be reached, or refuses access.
        WeightsError: the hash is wrong after three downloads.
        CardError: the repository's card cannot be read.
    """
    address = pin(Address.parse(text), CARD_FILE)
    card = expected or _card(address)
    if card.weights is None:
        raise WeightsError(f"{address}: its card describes a model without weights. "
                           "Fix: train it, zoo train {address}.")
    promised = card.weights
    _unsafe_format(promised.file, str(address))
    fresh = locate(address, promised.file) is None
    if fresh or locate(address, CONFIG_FILE) is not None:
        _check_config(address, None if expected else promised.sha256)

    def check(path: Path) -> None:
        check_weights(path, promised.sha256, promised.bytes, thorough=thorough)

    path = fetch_file(address, promised.file, check, sha256=promised.sha256, most=promised.bytes)
    if fresh and expected is None:
        _fetch_split(address, card)
    return Fetched(card, path, address)


def card_of(text: str) -> Card:
    """The card at an address, without its weights.

    Raises: as :func:`fetch`.
    """
    return _card(pin(Address.parse(text), CARD_FILE))


def _fetch_split(address: Address, card: Card) -> None:
    """The file with the training structures, if there is one; ``zoo evaluate`` needs it."""
    split = card.data.split
    if split is None or not (split.file or "").endswith(".safetensors"):
        return

    def check(path: Path) -> None:
        inside_cache(path)
        weights.read_header(path)

    with contextlib.suppress(AccessError):
        fetch_file(address, split.file or "", check)


def check_weights(path: Path, sha256: str, size: int, *, thorough: bool = False) -> None:
    """Check size and header; and the hash, unless the file was verified before and not touched since."""
    inside_cache(path)
    verdicts = Verdicts()
    if not thorough and path.stat().st_size == size and verdicts.knows(path, sha256):
        weights.read_header(path)
        return
    weights.check_hash(path, sha256=sha256, size=size)
    weights.read_header(path)
    verdicts.note(path, sha256)


def pin(address: Address, file: str) -> Address:
    """The address with its commit, which is requested once for a branch or tag, by its ``file``, and stored.

    Raises:
        HubError: the request failed, and no commit is stored.
    """
    if address.pinned:
        return address
    cached = CachedRepository.of(address)
    known = cached.commit_of(address.revision)
    if is_offline():
        if known is None:
            raise HubError(f"{address}: offline, and {cached.folder} does not know what {address.revision!r} means\n"
                           f"  Fix: run zoo pull {address} with network, or give the 40-digit commit")
        return address.at(known)
    try:
        commit = head(address, file).commit
    except UnreachableError as error:
        if known is None:
            raise
        reason = str(error).splitlines()[0]
        notify(f"zoo: {reason}; using {address.at(known)}, what {address.revision!r} meant last time")
        return address.at(known)
    except AccessError as error:
        raise _refused(error, address, known, file) from error
    if not is_commit(commit):
        raise UnreachableError(f"{address}: the Hub names no commit for {address.revision!r} but {commit!r}")
    cached.remember(address.revision, commit)
    notify(f"zoo: {address} is {address.at(commit)}; write that to get the same bytes for ever")
    return address.at(commit)


def _refused(error: AccessError, address: Address, known: str | None, file: str) -> HubError:
    """The same error with a hint: a commit that is in the cache, or what the repository holds instead of a model."""
    if "no such file" in str(error):
        return HubError(f"{address}: not a repository of the zoo: it holds no {file}{_what_else(address)} "
                       "Fix: check the name of the repository.")
    if known is not None:
        return AccessError(f"{error}\n  what was downloaded before is at hand: {address.at(known)}")
    return error


def _what_else(address: Address) -> str:
    """For an error: weights of the repository in formats that are never opened."""
    try:
        info = api().model_info(address.repo, revision=address.revision, timeout=timeout())
    except Exception:  # only adds to an error that is raised anyway
        return ""
    found = [s.rfilename for s in info.siblings or [] if os.path.splitext(s.rfilename)[1].lower() in UNSAFE]
    if not found:
        return ""
    return (f"\n  it holds {', '.join(found[:3])}: files that can run anything when opened are refused; "
            "only safetensors beside a card.yaml are read")


def _unsafe_format(file: str, owner: str) -> None:
    safe_path(file, owner)
    if not file.endswith(".safetensors"):
        raise WeightsError(f"{owner}: the weights file {file!r} is no safetensors file, and nothing else is opened. "
                           "Fix: ask its authors for safetensors.")


def _card(address: Address) -> Card:
    path = fetch_file(address, CARD_FILE, inside_cache, most=MAX_BYTES)
    try:
        return Card.load(path)
    except CardError as error:
        raise CardError(f"{address}: {error}") from None


def _check_config(address: Address, sha256: str | None) -> None:
    """Read ``config.json``, whose downloads the Hub counts, and compare its hash of the weights with the card's."""
    try:
        path = fetch_file(address, CONFIG_FILE, inside_cache, most=MAX_BYTES)
        promised = read_json(path)["weights"]["sha256"]
    except (UnreachableError, TooLargeError):
        raise
    except (HubError, OSError, ValueError, KeyError, TypeError):
        return  # a repository without it still loads; offline the card is enough
    if sha256 is not None and promised != sha256:
        raise WeightsError(f"{address}: {CARD_FILE} promises weights of sha256 {sha256}, {CONFIG_FILE} of {promised}: "
                           "the repository contradicts itself\n"
                           "  Fix: its owner pushes the model again with zoo push")


def fetch_file(address: Address, name: str, check: Check, sha256: str | None = None, most: int = MOST) -> Path:
    """One verified file at a pinned address, from the cache or from the Hub.

    Args:
        check: raises WeightsError for wrong bytes.
        sha256: of a large file; if the Hub announces another one, nothing is downloaded.
        most: bytes that it may have; a file announced as larger is not downloaded.

    Raises:
        HubError, WeightsError: as :func:`fetch`.
    """
    safe_path(name, str(address))
    cached = locate(address, name)
    offline = is_offline()
    if cached is not None:
        try:
            _check_cached(cached, check)
            return cached
        except WeightsError as error:
            if offline:
                raise WeightsError(f"{error}\n  Fix: zoo pull {address}, with network") from None
            notify(f"zoo: {str(error).splitlines()[0]}; downloading it again")
            discard(cached)
    if offline:
        raise HubError(f"{address}: offline, and {name} of it is not in {cache_folder()}\n"
                       f"  Fix: zoo pull {address}, with network")
    return _download(address, name, check, sha256, most)


def _check_cached(path: Path, check: Check) -> None:
    etag = etag_of(path)
    if etag is not None and len(etag) == 40:  # small files: git's hash is cheap, and their only check
        check_etag(path, etag)
    check(path)


def locate(address: Address, name: str) -> Path | None:
    """A file of a pinned address in the cache."""
    return CachedRepository.of(address).file(address.revision, name)


def _download(address: Address, name: str, check: Check, sha256: str | None, most: int) -> Path:
    """Request, download and verify; wrong bytes and broken connections are tried again, three times in all."""
    error: Exception | None = None
    for attempt in range(1, TRIES + 1):
        remote = head(address, name)
        _check_remote(address, name, remote, sha256, most)
        try:
            path = _client_download(address, name, force=attempt > 1)
        except Exception as failure:
            # The client has itself waited several time-outs; another try would take too long.
            stalled = "TimeoutException" in {kind.__name__ for kind in type(failure).__mro__}
            if attempt == TRIES or stalled or not is_passing(failure):
                raise explain(failure, address, f"downloading {name} of") from failure
            error = failure
        else:
            try:
                check_etag(path, remote.etag, remote.size)
                check(path)
                return path
            except WeightsError as failure:
                error = failure
                discard(path)
        if attempt < TRIES:
            wait_before(attempt, error)
    raise WeightsError(f"{error}\n  downloaded {TRIES} times from {address}, each time damaged: something between here "
                       f"and the Hub alters files\n  Fix: zoo pull {address} over another network")


def _check_remote(address: Address, name: str, remote: Remote, sha256: str | None, most: int) -> None:
    if remote.commit != address.revision:
        raise HubError(f"{address}: the Hub answers for commit {remote.commit}. "
                       "Fix: pin a commit that exists.")
    if sha256 is not None and len(remote.etag) == 64 and remote.etag != sha256:
        raise WeightsError(f"{address}: the repository's {name} has sha256 {remote.etag}, the card promises {sha256}: "
                           "these are other weights, and they were not downloaded\n"
                           f"  Fix: load hf:{address.repo} to use the repository's own card, or pin the commit "
                           "that holds the promised weights")
    if remote.size is not None and remote.size > most:
        raise TooLargeError(f"{address}: {name} has {remote.size:,} bytes, and {most:,} are the most it may have; it "
                            "was not downloaded. Fix: report it to whoever published it.")


def _client_download(address: Address, name: str, force: bool) -> Path:
    from huggingface_hub import hf_hub_download

    with limited_waits():
        return Path(hf_hub_download(address.repo, name, repo_type=address.kind, revision=address.revision,
                                    library_name="geometric-zoo", force_download=force))


def inside_cache(path: Path) -> None:
    """Refuse a cached file that is a link to somewhere else.

    Raises:
        WeightsError: it leads out of the cache.
    """
    if not path.resolve().is_relative_to(cache_folder().resolve()):
        raise WeightsError(f"{path}: a link that leads out of the cache, to {path.resolve()}. "
                           "Fix: zoo cache clean, then load it again.")
