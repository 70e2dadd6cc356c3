"""How long the Hub may make a person wait: what it asks for is said, and bounded, wherever it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo.hub.trouble import asked_wait

from . import models
from .client import Client
from .rows import row
from .server import HubServer
from .steps import FETCH, WEIGHTS

HOUR = {"status": 429, "headers": {"Retry-After": "3600"}}
PUSHING = {
    "looking": {"path": "/models/zoo-org/tiny[?]"},
    "creating": {"path": "/repos/create"},
    "tags": {"path": "/refs"},
    "preupload": {"path": "/preupload/"},
    "the store": {"path": "^/uploads/"},
    "the commit": {"path": "/commit/"},
    "the commit, 503": {"path": "/commit/", "status": 503},
    "the tag": {"path": "/tag/", "method": "POST"},
    "a rate limit": {"path": "/preupload/", "headers": {"ratelimit": '"api";r=0;t=3600'}},
}


def patient(client: Client) -> Client:
    """Nothing shortens the pauses of this client."""
    client.env["LONGEST_SLEEP"] = "1000000"
    return client


@row("network", "a download asks to wait an hour (429, 503), or more than a minute in all",
     "an error that says how long; no wait of more than half a minute is begun")  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
def test_a_download_does_not_wait_an_hour(client: Client, hub: HubServer, status: int) -> None:
    commit = hub.state.put("zoo-org/tiny", models.files(WEIGHTS))
    hub.fail("status", "^/files/", **{**HOUR, "status": status})
    outcome = patient(client).run(FETCH, f"hf:zoo-org/tiny@{commit}", timeout=20)
    assert "UnreachableError" in outcome.error and "asks to wait 3600 s" in outcome.message, outcome.output
    hub.faults.clear()
    assert client.run(FETCH, f"hf:zoo-org/tiny@{commit}").error is None


@row("push", "the Hub asks to wait an hour, at any step", "an error that says how long; the next push succeeds")
@pytest.mark.parametrize("step", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("the store", "the tag")))
                                  for name in PUSHING])  # fmt: skip
def test_a_push_does_not_wait_an_hour(client: Client, hub: HubServer, folder: Path, step: str) -> None:
    how: dict[str, Any] = {**HOUR, **PUSHING[step]}
    hub.fail("status", **how)
    outcome = patient(client).push("--tag", "v1", timeout=20)
    assert outcome.code == 2 and "asks to wait 3600 s" in outcome.output and "Traceback" not in outcome.output
    hub.faults.clear()
    assert client.push("--tag", "v1").code == 0
    assert hub.state.there()["model.safetensors"] == WEIGHTS


def test_a_short_wait_is_said_and_waits_add_up(client: Client, hub: HubServer, folder: Path) -> None:
    hub.fail("status", "/commit/", status=429, headers={"Retry-After": "2"}, times=1)
    outcome = client.push()
    assert outcome.code == 0 and "asks to wait 2 s" in outcome.output
    hub.state.put("zoo-org/tiny", {"card.yaml": b"theirs"})
    fault = hub.fail("status", "/commit/|/preupload/", status=429, headers={"Retry-After": "29"})
    outcome = client.push("--replace")
    assert outcome.code == 2 and "asks to wait 29 s" in outcome.output
    assert fault.hits == 3, "29 + 29 + 29 s are more than a minute"


@row("access", "a pull is refused with 403", "the error names the proxy or the login, and no write token")
def test_a_refused_pull_does_not_ask_for_a_write_token(client: Client, hub: HubServer, tmp_path: Path) -> None:
    commit = hub.state.put("zoo-org/tiny", models.files(WEIGHTS))
    for path in ("^/files/", "/resolve/"):
        fault = hub.fail("status", path, status=403)
        outcome = client.zoo("pull", f"hf:zoo-org/tiny@{commit}")
        hub.faults.remove(fault)
        assert outcome.code == 2 and "write" not in outcome.output and "hf auth login" in outcome.output


@pytest.mark.parametrize(("headers", "seconds"), [
    ({}, None), ({"Retry-After": "7"}, 7.0), ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    ({"ratelimit": '"api";r=0;t=35'}, 35.0), ({"ratelimit": '"api";r=12;t=35'}, None),
    ({"Retry-After": "7", "ratelimit": '"api";r=0;t=35'}, 35.0), ({"Retry-After": "1" * 13}, None)])
def test_what_an_answer_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(SimpleNamespace(headers=headers)) == seconds
