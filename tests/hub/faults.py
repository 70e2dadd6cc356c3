"""Ways for a server to fail, and where and how often it should."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KINDS = {
    "status": "another status, with its headers",
    "html": "200 with a web page in place of what was asked for, as a captive portal gives it",
    "loop": "a redirect to itself",
    "drop": "the connection is closed before an answer",
    "reset": "the connection is reset, after `after` bytes of the body if that is given",
    "cut": "the connection is closed after `after` bytes of the body, fewer than announced",
    "short": "fewer bytes than there are, with the Content-Length of the fewer",
    "flip": "one bit of the body is wrong; the size is right",
    "stall": "nothing for `seconds`, after `after` bytes of the body if that is given",
    "norange": "a range is asked for, the whole is given",
    "chunked": "no Content-Length",
    "strip": "the named headers are left out",
    "lost": "the request is carried out, its answer never arrives",
}


@dataclass
class Fault:
    """One way to fail for the requests that match; `times` None means for ever, `skip` lets the first ones through."""

    kind: str
    path: str = ""
    method: str = ""
    host: str = ""
    times: int | None = None
    skip: int = 0
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    after: int | None = None
    seconds: float = 60.0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}: {', '.join(KINDS)}")

    def strikes(self, host: str, method: str, path: str) -> bool:
        """Whether this request fails; counts it."""
        if (self.host and self.host != host) or (self.method and method not in self.method.split("|")):
            return False
        if self.path and not re.search(self.path, path):
            return False
        self.hits += 1
        return self.hits > self.skip and (self.times is None or self.hits <= self.skip + self.times)
