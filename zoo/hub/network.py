"""Requests to the Hub, with limits on time and number of tries. All requests but downloads of files start here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from zoo.errors import HubError
from zoo.hub.address import Address
from zoo.hub.trouble import explain, is_passing, retry_after
from zoo.hub.waiting import LONGEST_WAIT, limited_waits

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["TRIES", "Remote", "api", "ask", "head", "is_offline", "patience", "wait_before"]

TRIES = 3
LIBRARY = "geometric-zoo"
_REDIRECTS = 10
_T = TypeVar("_T")


@dataclass(frozen=True)
class Remote:
    """A file on the Hub: its commit, hash (git's sha1, or sha256 of a large file) and size."""

    commit: str
    etag: str
    size: int | None


def is_offline() -> bool:
    """Whether ``ZOO_OFFLINE`` or ``HF_HUB_OFFLINE`` forbids the network."""
    if _is_true("ZOO_OFFLINE") or _is_true("HF_HUB_OFFLINE"):
        return True
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _is_true(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on")


def api() -> HfApi:
    """The client; it reads endpoint and token from its environment variables."""
    from huggingface_hub import HfApi

    return HfApi(library_name=LIBRARY)


def timeout() -> float:
    """Time-out of a single request in seconds (``HF_HUB_ETAG_TIMEOUT``)."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_ETAG_TIMEOUT)


@contextmanager
def patience() -> Iterator[None]:
    """Limit the waits that the Hub asks for, and the client's requests that have no time-out of their own to three
    times ``HF_HUB_DOWNLOAD_TIMEOUT`` each."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    session = get_session()
    before = session.timeout
    session.timeout = 3.0 * constants.HF_HUB_DOWNLOAD_TIMEOUT
    try:
        with limited_waits():
            yield
    finally:
        session.timeout = before


def wait_before(attempt: int, error: BaseException | None = None) -> None:
    """Pause after try ``attempt`` (from 1): as long as the Hub asked for, at most half a minute, else 1, 2, 4 … ×
    ``ZOO_HUB_WAIT`` s."""
    asked = retry_after(error) if error is not None else None
    first = float(os.environ.get("ZOO_HUB_WAIT", "1"))
    time.sleep(min(asked, LONGEST_WAIT) if asked is not None else first * 2 ** (attempt - 1))


def ask(question: Callable[[], _T], address: Address, doing: str) -> _T:
    """Result of a request that changes nothing, which is repeated while that may help.

    Raises:
        HubError: the request failed, or the Hub asks to wait longer than half a minute.
    """
    with limited_waits():
        for attempt in range(1, TRIES + 1):
            try:
                return question()
            except HubError:
                raise
            except Exception as error:
                if attempt == TRIES or not is_passing(error):
                    raise explain(error, address, doing) from error
                wait_before(attempt, error)
    raise AssertionError("unreachable")


def head(address: Address, file: str) -> Remote:
    """Commit, hash and size of a file, in one request.

    Raises:
        UnreachableError: no usable answer within the time-out, three times.
        AccessError: there is no such file, or no access to it.
    """
    return ask(lambda: _head(address, file), address, f"asking for {file} of")


def _head(address: Address, file: str) -> Remote:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import FileMetadataError
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = hf_hub_url(address.repo, file, repo_type=address.kind, revision=address.revision)
    headers = {**build_hf_headers(library_name=LIBRARY), "Accept-Encoding": "identity"}
    for _ in range(_REDIRECTS):
        response = get_session().head(url, headers=headers, timeout=timeout(), follow_redirects=False)
        hf_raise_for_status(response)
        target = urljoin(url, response.headers.get("Location", ""))
        # Redirects to another host are not followed: this answer has the metadata, and the token in these headers must
        # # not leave the Hub.
        if not 300 <= response.status_code < 400 or _origin(target) != _origin(url):
            return _read(response, url)
        url = target
    raise FileMetadataError(f"{url} redirects in a circle")


def _read(response: Any, url: str) -> Remote:
    from huggingface_hub.errors import FileMetadataError

    commit = response.headers.get("X-Repo-Commit")
    etag = (response.headers.get("X-Linked-ETag") or response.headers.get("ETag") or "").removeprefix("W/").strip('"')
    if not commit or not etag:
        raise FileMetadataError(f"the server at {url} is not a Hub (a login page of the network, perhaps)")
    redirected = 300 <= response.status_code < 400
    size = response.headers.get("X-Linked-Size") or (None if redirected else response.headers.get("Content-Length"))
    return Remote(commit, etag, int(size) if size and size.isdigit() else None)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    split = urlsplit(url)
    return split.scheme, split.hostname, split.port
