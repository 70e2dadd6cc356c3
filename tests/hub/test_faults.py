"""What happens to a pull when the network or the Hub fails: right bytes, or a clear error and a cache that heals.

`CASES` is also the table in `docs/experiments/hub-faults.md`: `python -m tests.hub.table` writes it, a test compares.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import models
from .client import Client
from .server import HubServer
from .steps import FETCH, WEIGHTS

LARGE = "^/files/"
ANY = "resolve/.*/model.safetensors"
UNREACHABLE = "UnreachableError"


@dataclass(frozen=True)
class Case:
    """A fault, and what it comes to: `error` None means the right bytes; `says` must stand in the message."""

    name: str
    faults: tuple[dict[str, Any], ...]
    outcome: str
    error: str | None = None
    says: str = ""
    within: float = 20.0


def fault(kind: str, path: str = "", **how: Any) -> dict[str, Any]:
    return {"kind": kind, "path": path, **how}


# Run by default; the others are marked slow, for there are many of them.
EVERYDAY = {
    "every HEAD answers 500", "HEAD answers 429 with Retry-After: 3600", "a download answers 503 twice",
    "every connection is reset at the first byte", "the connection ends in mid-body, once",
    "a truncated body with the Content-Length of what is sent, once", "one bit of the weights flipped, once",
    "one bit of the weights flipped in every download", "one bit of the card flipped, once",
    "a web page in place of the Hub (captive portal)", "a redirect to itself", "the Hub accepts and never answers",
}  # fmt: skip

CASES = [
    Case("every HEAD answers 500", (fault("status", method="HEAD", status=500),),
         "asked thrice, then an error", UNREACHABLE, "status 500"),
    Case("a HEAD answers 503 once", (fault("status", ANY, method="HEAD", times=1),),
         "asked again: right bytes"),
    Case("HEAD answers 429 with Retry-After: 1, once", (fault("status", ANY, method="HEAD", status=429, times=1,
                                                              headers={"Retry-After": "1"}),),
         "waits as told: right bytes"),
    Case("HEAD answers 429 with Retry-After: 3600", (fault("status", method="HEAD", status=429,
                                                           headers={"Retry-After": "3600"}),),
         "an error at once that says how long to wait", UNREACHABLE, "3600 s", 15),
    Case("a download answers 503 twice", (fault("status", LARGE, times=2),), "downloaded again: right bytes"),
    Case("every download answers 500", (fault("status", LARGE, status=500),),
         "three tries, then an error", UNREACHABLE, "status 500"),
    Case("every download answers 403", (fault("status", LARGE, status=403),),
         "an error at once", "AccessError", "refused", 15),
    Case("a download answers 429 with Retry-After: 0, once", (fault("status", LARGE, status=429, times=1,
                                                                    headers={"Retry-After": "0"}),),
         "waits as told: right bytes"),
    Case("every connection is reset at the first byte", (fault("reset"),),
         "asked thrice, then an error", UNREACHABLE, "no usable answer"),
    Case("a connection is reset in mid-body, twice", (fault("reset", LARGE, after=50_000, times=2),),
         "downloaded again: right bytes"),
    Case("every connection is reset in mid-body", (fault("reset", LARGE, after=50_000),),
         "three tries, then an error", UNREACHABLE, "no usable answer"),
    Case("the connection ends in mid-body, once", (fault("cut", LARGE, after=50_000, times=1),),
         "downloaded again: right bytes"),
    Case("a truncated body with the Content-Length of what is sent, once",
         (fault("short", LARGE, after=50_000, times=1),),
         "seen by its size, downloaded again: right bytes"),
    Case("every body truncated, sizes left out", (fault("short", LARGE, after=50_000),
                                                  fault("strip", ANY, headers={"X-Linked-Size": ""})),
         "seen by its hash: three downloads, then an error", "WeightsError", "expected sha256"),
    Case("one bit of the weights flipped, once", (fault("flip", LARGE, times=1),),
         "seen by the sha256, downloaded again: right bytes"),
    Case("one bit of the weights flipped in every download", (fault("flip", LARGE),),
         "three downloads, then an error", "WeightsError", "found " ),
    Case("one bit of the card flipped, once", (fault("flip", "resolve-cache/.*card.yaml", method="GET", times=1),),
         "seen by git's hash, downloaded again: right bytes"),
    Case("one bit of the card flipped in every download", (fault("flip", "resolve-cache/.*card.yaml", method="GET"),),
         "three downloads, then an error", "WeightsError", "expected sha1"),
    Case("a web page in place of the Hub (captive portal)", (fault("html"),),
         "asked thrice, then an error", UNREACHABLE, "login page"),
    Case("a web page in place of the weights, once", (fault("html", LARGE, times=1),),
         "seen by its size, downloaded again: right bytes"),
    Case("a web page in place of the weights, always", (fault("html", LARGE),),
         "three downloads, then an error", UNREACHABLE, ""),
    Case("no Content-Length (chunked)", (fault("chunked", LARGE),), "right bytes"),
    Case("ranges not honoured", (fault("norange", LARGE), fault("cut", LARGE, after=50_000, times=1)), "right bytes"),
    Case("a redirect to itself", (fault("loop", "/resolve/"),),
         "asked thrice, then an error", UNREACHABLE, "in a circle"),
    Case("the Hub accepts and never answers", (fault("stall"),),
         "an error after three times HF_HUB_ETAG_TIMEOUT", UNREACHABLE, "no usable answer", 20),
    Case("a body stalls, once", (fault("stall", LARGE, after=50_000, times=1),),
         "resumed after HF_HUB_DOWNLOAD_TIMEOUT: right bytes"),
    Case("every body stalls", (fault("stall", LARGE, after=50_000),),
         "an error after six times HF_HUB_DOWNLOAD_TIMEOUT", UNREACHABLE, "no usable answer", 40),
]  # fmt: skip


def test_everyday_cases_exist() -> None:
    assert {case.name for case in CASES} >= EVERYDAY


@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name not in EVERYDAY)) for c in CASES]
)
def test_a_pull_under_faults(client: Client, hub: HubServer, case: Case) -> None:
    commit = hub.state.put("zoo-org/tiny", models.files(WEIGHTS))
    for one in reversed(case.faults):
        hub.fail(**one)
    if any(one["kind"] == "stall" for one in case.faults):
        client.hurry()
    outcome = client.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    assert outcome.seconds < case.within
    if case.error is None:
        assert digest(Path(outcome.ok()[0])) == hashlib.sha256(WEIGHTS).hexdigest()
    else:
        assert outcome.error is not None, "wrong bytes were taken"
        assert "ZooError" in outcome.error and case.error in outcome.error, outcome.output
        assert case.says in outcome.message, outcome.message
        assert "Fix: " in outcome.message or "wait" in outcome.message or "later" in outcome.message
        assert "hf_writer" not in outcome.output
    if case.error is not None:
        hub.faults.clear()
        healed = client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()
        assert digest(Path(healed[0])) == hashlib.sha256(WEIGHTS).hexdigest()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
