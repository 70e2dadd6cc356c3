"""What happens to a push when the network, the Hub or this machine fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from .client import Client
from .rows import row
from .server import HubServer
from .steps import WEIGHTS, wait_for

PASSING = [
    ("create answers 503", {"kind": "status", "path": "/repos/create", "times": 1}),
    ("preupload answers 500", {"kind": "status", "path": "/preupload/", "times": 1, "status": 500}),
    ("the commit answers 500", {"kind": "status", "path": "/commit/", "times": 1, "status": 500}),
    ("the commit answers 429", {"kind": "status", "path": "/commit/", "times": 1, "status": 429,
                                "headers": {"Retry-After": "1"}}),
    ("the commit is carried out, its answer is lost", {"kind": "lost", "path": "/commit/", "times": 1}),
    ("the connection is reset at the commit", {"kind": "reset", "path": "/commit/", "times": 1}),
    ("the large-file store answers 503", {"kind": "status", "path": "^/uploads/", "times": 1}),
    ("the large-file store resets", {"kind": "reset", "path": "^/uploads/", "times": 1}),
    ("the tag answers 500", {"kind": "status", "path": "/tag/", "method": "POST", "times": 1, "status": 500}),
]  # fmt: skip


@pytest.mark.parametrize("fault", [
    pytest.param(fault, id=name, marks=[] if "carried out" in name or "store answers" in name else pytest.mark.slow)
    for name, fault in PASSING
])  # fmt: skip
def test_a_push_gets_through_what_passes(client: Client, hub: HubServer, folder: Path, fault: dict) -> None:
    hub.fail(**fault)
    outcome = client.push("--tag", "v1.0")
    assert outcome.code == 0, outcome.output
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert hub.state.there()["model.safetensors"] == WEIGHTS
    assert len(repository.history("main")) == 2, "exactly one commit"
    assert repository.tags == {"v1.0": repository.head.oid}
    assert repository.head.oid in (client.home / "zoo" / "registry.yaml").read_text()


LASTING = [
    ("every commit answers 500", {"kind": "status", "path": "/commit/", "status": 500}, "status 500"),
    ("every commit is reset", {"kind": "reset", "path": "/commit/"}, "no usable answer"),
    ("the store refuses", {"kind": "status", "path": "^/uploads/", "status": 403}, "403"),
    ("verification fails", {"kind": "status", "path": "/verify-upload", "status": 404}, "404"),
    ("the Hub never answers", {"kind": "stall"}, "no usable answer"),
    ("the commit never answers", {"kind": "stall", "path": "/commit/"}, "no usable answer"),
]


@pytest.mark.parametrize(("fault", "says"), [
    pytest.param(f, says, id=name, marks=[pytest.mark.slow] * (name != "every commit answers 500"))
    for name, f, says in LASTING
])  # fmt: skip
def test_a_push_that_fails_leaves_nothing_half_done(
    client: Client, hub: HubServer, folder: Path, fault: dict, says: str
) -> None:
    hub.fail(**fault)
    if fault["kind"] == "stall":
        client.hurry()
    outcome = client.push()
    assert outcome.code == 2 and says in outcome.output and "Traceback" not in outcome.output
    if ("models", "zoo-org/tiny") in hub.state.repositories:
        assert hub.state.there() == {}
    assert not (client.home / "zoo" / "registry.yaml").exists()
    hub.faults.clear()
    assert client.push().code == 0
    assert hub.state.there()["model.safetensors"] == WEIGHTS


@row("push", "kill −9 during the upload or the commit", "nothing half done; the next push makes the one commit")
@pytest.mark.parametrize("where", ["^/uploads/", "/commit/"])
def test_killed_in_mid_push(client: Client, hub: HubServer, folder: Path, where: str) -> None:
    fault = hub.fail("stall", where, seconds=30, times=1)
    client.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "20"
    job = client.start("from zoo.hub import push\npush('tiny', 'zoo-org/tiny')")
    wait_for(lambda: fault.hits)
    job.kill()
    assert job.wait().error == ["Killed"]
    assert hub.state.there() == {} and not (client.home / "zoo" / "registry.yaml").exists()
    assert client.push().code == 0
    assert hub.state.there()["model.safetensors"] == WEIGHTS
    assert len(hub.state.repositories["models", "zoo-org/tiny"].history("main")) == 2


@row("push", "kill −9 between commit and pin", "the next push finds its commit, tags and records it")
def test_killed_between_commit_and_pin(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    hub.fail("stall", "/refs", seconds=30, times=1, skip=1)  # tags are looked at before the commit and after it
    newest.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "20"
    job = newest.start("from zoo.hub import push\npush('tiny', 'zoo-org/tiny', tag='v1')")
    wait_for(lambda: len(hub.asked("GET", "/refs")) == 2)
    job.kill()
    head = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    assert newest.push("--tag", "v1").code == 0
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert repository.head.oid == head and repository.tags == {"v1": head}
    assert head in (newest.home / "zoo" / "registry.yaml").read_text()
