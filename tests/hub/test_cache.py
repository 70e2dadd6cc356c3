"""A cache that heals: damage, kills, races, a full disk, no rights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import models
from .client import Client
from .rows import row
from .server import HubServer
from .steps import FETCH, OTHER, WEIGHTS, flip, wait_for


@row("machine", "a bit flips in the cache, also under an old date", "seen, downloaded again")
@pytest.mark.parametrize("keep_date", [False, True])
def test_a_flipped_bit_in_the_cache_is_seen_and_mended(client: Client, hub: HubServer, commit: str, keep_date: bool):
    path = Path(client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0])
    flip(path, keep_date)
    hub.log.clear()
    mended = client.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    assert Path(mended.ok()[0]).read_bytes() == WEIGHTS and "downloading it again" in mended.output
    assert len(hub.asked("GET", host="cdn")) == 1


@row("machine", "a damaged file in the cache, offline", "an error with the path and the command that fixes it")
@pytest.mark.parametrize("name", ["model.safetensors", "card.yaml"])
def test_damage_is_said_when_it_cannot_be_mended(newest: Client, commit: str, name: str) -> None:
    path = Path(newest.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0]).parent / name
    path.resolve().write_bytes(path.read_bytes()[:-10])
    newest.env["ZOO_OFFLINE"] = "1"
    outcome = newest.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    assert "WeightsError" in outcome.error
    assert str(path) in outcome.message and f"zoo pull hf:zoo-org/tiny@{commit}" in outcome.message


@row("machine", "a link in the cache that leads elsewhere", "not followed; downloaded again")
def test_a_link_out_of_the_cache_is_not_followed(newest: Client, hub: HubServer, commit: str) -> None:
    path = Path(newest.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0])
    outside = newest.home / "elsewhere.safetensors"
    outside.write_bytes(WEIGHTS)
    path.unlink()
    path.symlink_to(outside)
    healed = newest.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    assert Path(healed.ok()[0]).resolve() != outside and outside.read_bytes() == WEIGHTS


def test_intact_weights_are_hashed_once(newest: Client, commit: str) -> None:
    counted = (
        "import zoo.cards.weights as w\nhashed = []\nreal = w.sha256_of\n"
        "w.sha256_of = lambda path: hashed.append(path) or real(path)\n"
        f"{FETCH}\nresult = len(hashed)"
    )
    assert newest.run(counted, f"hf:zoo-org/tiny@{commit}").ok() == 1
    assert newest.run(counted, f"hf:zoo-org/tiny@{commit}").ok() == 0
    verdicts = newest.home / "zoo" / "verified.json"
    verdicts.write_text("not json")
    assert newest.run(counted, f"hf:zoo-org/tiny@{commit}").ok() == 1


@row("machine", "kill −9 during a pull", "nothing wrong is left in place; the next pull is whole")
def test_killed_in_mid_download(client: Client, hub: HubServer, commit: str) -> None:
    hub.fail("stall", "^/files/", after=50_000, seconds=30, times=1)
    client.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "20"
    job = client.start(FETCH, f"hf:zoo-org/tiny@{commit}")
    wait_for(lambda: hub.asked("GET", host="cdn") and list(client.cache.rglob("*.incomplete")))
    job.kill()
    assert job.wait().error == ["Killed"]
    assert list(client.cache.rglob("snapshots/*/model.safetensors")) == []
    assert Path(client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0]).read_bytes() == WEIGHTS


@row("machine", "four processes pull one model at once", "one download, four times the right bytes")
def test_two_at_once(client: Client, hub: HubServer, commit: str) -> None:
    jobs = [client.start(FETCH, "hf:zoo-org/tiny") for _ in range(4)]
    for job in jobs:
        assert Path(job.wait().ok()[0]).read_bytes() == WEIGHTS
    assert len(hub.asked("GET", host="cdn")) == 1


@pytest.fixture
def nobody(newest: Client) -> Iterator[Client]:
    """A client that runs as a user without rights to its own cache; needs to be root to become nobody."""
    if os.getuid() != 0:
        pytest.skip("needs root, to become somebody without rights")
    home = Path(tempfile.mkdtemp(prefix="zoo-hub-"))
    home.chmod(0o755)
    newest.home = home / "home"
    newest.home.mkdir()
    yield newest
    shutil.rmtree(home)


@row("machine", "a cache that cannot be written", "what is in it loads; what is not is an error that names it")
def test_a_cache_that_is_read_only(nobody: Client, hub: HubServer, commit: str) -> None:
    hub.state.put("zoo-org/other", models.files(OTHER))
    answers = nobody.home.parent / "answers"
    answers.mkdir()
    answers.chmod(0o777)
    # Everything is imported first: nobody may not read the interpreter's own files either.
    as_nobody = (
        "from zoo.hub import fetch\nfetch('hf:zoo-org/other')\nimport os, encodings.idna\n"
        "os.setgid(65534)\nos.setuid(65534)\n" + FETCH
    )
    nobody.run(FETCH, "hf:zoo-org/tiny").ok()
    nobody.answers = answers
    assert Path(nobody.run(as_nobody, f"hf:zoo-org/tiny@{commit}").ok()[0]).read_bytes() == WEIGHTS
    assert Path(nobody.run(as_nobody, "hf:zoo-org/tiny").ok()[0]).read_bytes() == WEIGHTS
    shutil.rmtree(nobody.cache / "models--zoo-org--tiny")
    refused = nobody.run(as_nobody, f"hf:zoo-org/tiny@{commit}")
    assert "HubError" in refused.error and "cannot be written" in refused.message and "HF_HOME" in refused.message
    assert str(nobody.cache) in refused.message


@row("machine", "a full disk", "an error that says how to free space; the cache stays intact")
def test_a_full_disk(client: Client, commit: str) -> None:
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n" + FETCH
    outcome = client.run(full, f"hf:zoo-org/tiny@{commit}")
    assert "HubError" in outcome.error and "no space left" in outcome.message and "zoo cache prune" in outcome.message
    assert list(client.cache.rglob("snapshots/*/model.safetensors")) == []
    client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()
