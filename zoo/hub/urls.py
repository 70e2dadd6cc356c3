"""A file at a plain address (https), whole and with the promised bytes: resumed, verified, bounded in size and time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zoo.cards.weights import check_hash
from zoo.errors import HubError, WeightsError
from zoo.files.locks import locked
from zoo.hub.network import LIBRARY, TRIES, is_offline, wait_before
from zoo.hub.notices import notify
from zoo.hub.trouble import AccessError, TooLongError, UnreachableError, disk_error, is_passing, short, status_of
from zoo.hub.waiting import limited_waits

__all__ = ["fetch_url"]

_MOST_TRIES = 20  # of a connection that breaks again and again after some bytes
_SLOWEST = 10_000  # bytes a second
_LOCK_SECONDS = 600


def fetch_url(url: str, target: Path, *, sha256: str, size: int, command: str) -> Path:
    """Download a file, unless it is there; what a cut download left is continued, also by a later call.

    Args:
        target: where the file appears, whole and verified or not at all.
        size: in bytes; nothing longer is accepted.
        command: for errors: what to run again, such as ``"zoo pull NAME"``.

    Raises:
        HubError: offline, no usable answer, refused, or the disk is full.
        WeightsError: other bytes than promised, after three downloads.
    """
    if _is_whole(target, sha256, size):
        return target
    if is_offline():
        raise HubError(f"{url}: offline, and {target.name} of it was not downloaded before. "
                       f"Fix: {command}, with network, or {command} --file PATH if you have the file.")
    partial = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target, seconds=_LOCK_SECONDS, error=HubError):
            if not _is_whole(target, sha256, size):  # another process may have brought it meanwhile
                notify(f"zoo: downloading {target.name}, {size / 1e6:.1f} MB, from {urlsplit(url).hostname}")
                with limited_waits():
                    _download(url, partial, sha256, size, command)
                os.replace(partial, target)
    except OSError as error:
        raise disk_error(error, url, str(target.parent), "ZOO_HOME") from error
    return target


def _is_whole(path: Path, sha256: str, size: int) -> bool:
    try:
        check_hash(path, sha256=sha256, size=size)
    except WeightsError:
        return False
    return True


def _download(url: str, partial: Path, sha256: str, size: int, command: str) -> None:
    """Fill ``partial``; wrong bytes and broken connections are tried again, a few times in all."""
    damaged = idle = 0
    for attempt in range(1, _MOST_TRIES + 1):
        before = _length(partial)
        error: Exception
        try:
            _continue(url, partial, size)
            check_hash(partial, sha256=sha256, size=size, fix=f"{command} over another network")
            return
        except WeightsError as failure:
            partial.unlink(missing_ok=True)
            damaged, error = damaged + 1, failure
            if damaged == TRIES:
                raise WeightsError(f"{url}: downloaded {TRIES} times, and each time these are not the promised bytes: "
                                   f"{str(failure).splitlines()[0]}. Fix: {command} over another network, or "
                                   f"{command} --file PATH if you have the file.") from failure
        except Exception as failure:
            idle, error = 0 if _length(partial) > before else idle + 1, failure
            if idle == TRIES or attempt == _MOST_TRIES or not is_passing(failure):
                raise _explained(failure, url, partial, size, command) from failure
        wait_before(max(damaged, idle, 1), error)


def _continue(url: str, partial: Path, size: int) -> None:
    """Ask for what ``partial`` lacks and add it.

    Raises:
        WeightsError: what comes is not of the promised length.
        OSError, or an error of the HTTP client: it did not all come.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    have = _length(partial)
    if have >= size:  # whole, or damaged: the hash tells
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": LIBRARY, **({"Range": f"bytes={have}-"} if have else {})}
    pause = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
    deadline = time.monotonic() + 2 * pause + size / _SLOWEST
    with get_session().stream("GET", url, headers=headers, timeout=pause, follow_redirects=True) as answer:
        if have and answer.status_code == 416:
            raise WeightsError(f"{partial.name}: the server has nothing after byte {have}")
        answer.raise_for_status()
        have = _start(answer, have, size)
        with partial.open("ab" if have else "wb") as out:
            for piece in answer.iter_raw():
                have += len(piece)
                if have > size:
                    raise WeightsError(f"{partial.name}: expected {size} bytes, and more come")
                out.write(piece)
                if time.monotonic() > deadline:
                    raise ConnectionError(f"slower than {_SLOWEST // 1000} kB/s")
    if have < size:
        raise ConnectionError(f"the connection ended after {have} of {size} bytes")


def _start(answer: Any, have: int, size: int) -> int:
    """The byte at which the answer begins, once its announced length is the promised one."""
    span = answer.headers.get("Content-Range", "")
    if have and answer.status_code == 206 and span.startswith(f"bytes {have}-"):
        total = span.rpartition("/")[2]
        if total.isdigit() and int(total) != size:
            raise WeightsError(f"expected {size} bytes, and the server has {total}")
        return have
    if answer.status_code != 200:
        raise WeightsError(f"asked for bytes from {have} on, and the server answers {answer.status_code} {span}")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and int(length) != size:
        page = " (a web page)" if "html" in answer.headers.get("Content-Type", "") else ""
        raise WeightsError(f"expected {size} bytes, and the server sends {length}{page}")
    return 0


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _explained(error: Exception, url: str, partial: Path, size: int, command: str) -> HubError:
    if isinstance(error, OSError) and error.errno is not None and not is_passing(error):
        return disk_error(error, url, str(partial.parent), "ZOO_HOME")
    status = status_of(error)
    by_hand = f"{command} --file PATH if you have the file"
    if isinstance(error, TooLongError):
        return UnreachableError(f"{url}: {error}. Fix: wait, then run {command} again, or {by_hand}.")
    if status is not None and not is_passing(error):
        return AccessError(f"{url}: the server answers with status {status}. Fix: check whether the file has moved; "
                           f"{by_hand}.")
    have = _length(partial)
    kept = f"; {have} of {size} bytes are kept, and it goes on from there" if have else ""
    return UnreachableError(f"{url} gives no usable answer: {short(error)}{kept}. Fix: check the network and run "
                            f"{command} again, or {by_hand}.")
