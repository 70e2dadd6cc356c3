"""Errors of the Hub and of the connection to it, explained with what to do."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any

from zoo.errors import HubError
from zoo.hub.address import Address

__all__ = ["AccessError", "TooLargeError", "TooLongError", "UnreachableError", "asked_wait", "disk_error", "explain",
           "is_passing", "retry_after", "short", "status_of"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_SECONDS = re.compile(r"[0-9]{1,12}")
_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,12})')


class UnreachableError(HubError):
    """No usable answer: no connection, time-out, 429 or 5xx, or a web page instead of the Hub."""


class AccessError(HubError):
    """The Hub refused: not found, private, gated, or a wrong token."""


class TooLargeError(HubError):
    """A file of a repository has more bytes than it may have."""


class TooLongError(Exception):
    """The Hub asks to wait longer than we do. Carries the answer, and is explained as any other with its status."""

    def __init__(self, response: Any) -> None:
        super().__init__(f"status {response.status_code}, to be asked again in {asked_wait(response):.0f} s")
        self.response = response


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    while error is not None:
        yield error
        error = error.__cause__


def status_of(error: BaseException) -> int | None:
    """HTTP status of the first answer in the chain, if any."""
    for one in chain(error):
        response = getattr(one, "response", None)
        if response is not None:
            return int(response.status_code)
    return None


def retry_after(error: BaseException) -> float | None:
    """Seconds that a 429 or 503 asks to wait."""
    answers = (getattr(one, "response", None) for one in chain(error))
    return next((asked for answer in answers if answer is not None and (asked := asked_wait(answer)) is not None), None)


def asked_wait(response: Any) -> float | None:
    """Seconds that an answer asks to wait: ``Retry-After``, or the reset of an exhausted ``ratelimit``."""
    after = response.headers.get("Retry-After", "").strip()
    exhausted = _RATE_LIMIT.search(response.headers.get("ratelimit", ""))
    asked = [float(after)] if _SECONDS.fullmatch(after) else []
    return max([*asked, *([float(exhausted[1])] if exhausted else [])], default=None)


def is_passing(error: BaseException) -> bool:
    """Whether another try may help: no answer, a broken one, 408, 429 or 5xx; not a full disk."""
    if any(isinstance(one, (HubError, TooLongError)) for one in chain(error)):
        return False
    status = status_of(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if any(getattr(one, "errno", None) in _FULL | _CLOSED for one in chain(error)):
        return False
    return _names(error) & {"TransportError", "FileMetadataError", "ConnectionError"} != set() or (
        isinstance(error, OSError) and "Consistency check" in str(error)
    )


def _names(error: BaseException) -> set[str]:
    """Class names in the chain: the two generations of the client have the same classes in different packages."""
    return {kind.__name__ for one in chain(error) for kind in type(one).__mro__}


def explain(error: BaseException, address: Address, doing: str, *, writing: bool = False) -> HubError:
    """The error to show for one that the client raised; ``writing``: while something was to be changed there."""
    from huggingface_hub import constants

    what = f"{doing} {address}" if doing else str(address)
    disk = any(isinstance(one, OSError) and one.errno in _FULL | _CLOSED for one in chain(error))
    if status_of(error) is None and disk:
        return disk_error(error, what, constants.HF_HUB_CACHE, "HF_HOME")
    return _answer(error, address, what, constants.ENDPOINT, writing) or UnreachableError(
        f"{what}: {constants.ENDPOINT} gives no usable answer: {short(error)}\n"
        "  Fix: check the network and HF_ENDPOINT, then run it again; "
        "ZOO_OFFLINE=1 uses only what is on this machine"
    )


def disk_error(error: BaseException, what: str, folder: str, variable: str) -> HubError:
    """The error to show where a folder is full or cannot be written; ``variable`` says where it is."""
    if any(getattr(one, "errno", None) in _FULL for one in chain(error)):
        free = "free space (zoo cache prune)" if variable == "HF_HOME" else "free space"
        return HubError(f"{what}: no space left for it in {folder}\n"
                        f"  Fix: {free}, or set {variable} to another disk")
    return HubError(f"{what}: {folder} cannot be written ({short(error)})\n"
                    f"  Fix: set {variable} to a folder of your own")


def _answer(error: BaseException, address: Address, what: str, endpoint: str, writing: bool) -> HubError | None:
    """Errors that are answers of the Hub."""
    names, status = _names(error), status_of(error)
    login = "log in with `hf auth login`, or set HF_TOKEN"
    page = f"{endpoint}/{'datasets/' if address.kind == 'dataset' else ''}{address.repo}"
    if "GatedRepoError" in names:
        return AccessError(f"{what}: gated, and access is not granted to you\n"
                           f"  Fix: ask for access at {page}, then {login}")
    if "RevisionNotFoundError" in names:
        return AccessError(f"{what}: the repository has no revision {address.revision!r}\n"
                           f"  Fix: leave the revision out, or see {page}/tree/main")
    if "RepositoryNotFoundError" in names:
        return AccessError(f"{what}: {endpoint} has no such repository, or does not show it to you\n"
                           f"  Fix: check the name; for a private one, {login}")
    if "RemoteEntryNotFoundError" in names:
        return AccessError(f"{what}: the repository has no such file\n"
                           f"  Fix: see what it has at {page}/tree/main")
    if status == 401:
        return AccessError(f"{what}: {endpoint} does not accept the token\n"
                           f"  Fix: {login}; `hf auth logout` and no HF_TOKEN for public models")
    if status == 403:
        fix = ("use a token with the role 'write' and rights to this organisation" if writing else
               f"check that a proxy lets {endpoint} through; if the repository is restricted, {login}")
        return AccessError(f"{what}: refused ({short(error)})\n  Fix: {fix}")
    if status == 429:
        return UnreachableError(f"{what}: {endpoint} answers that there were too many requests{_asks(error)}\n"
                                "  Fix: wait, then run it again")
    if status is not None and status >= 500:
        return UnreachableError(f"{what}: {endpoint} is in trouble (status {status}){_asks(error)}\n"
                                "  Fix: try again later")
    return None


def _asks(error: BaseException) -> str:
    wait = retry_after(error)
    return f"; it asks to wait {wait:.0f} s" if wait else ""


def short(error: BaseException) -> str:
    """The innermost reason, in one line."""
    inner = list(chain(error))[-1]
    text = " ".join(str(inner).split()) or type(inner).__name__
    return text if len(text) <= 400 else text[:399] + "…"
