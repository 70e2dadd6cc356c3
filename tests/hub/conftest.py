"""A hub on loopback, and clients of both generations that talk to it over real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from . import models
from .client import PRELOADED, Client, ForkServer
from .server import HubServer

# The oldest client that is supported; the newest is the one installed.
OLDEST = "huggingface_hub==1.6.0"

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def hub_process() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(hub_process: HubServer) -> Iterator[HubServer]:
    """An empty hub without faults."""
    hub_process.reset()
    yield hub_process
    hub_process.stopping.set()
    assert hub_process.errors == []


@pytest.fixture(scope="session")
def oldest_client(pytestconfig: pytest.Config) -> Path:
    """A folder with the oldest supported client, installed once and kept in pytest's cache."""
    folder = pytestconfig.cache.mkdir(OLDEST.replace("==", "-"))
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(folder), OLDEST]
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                reason = f"{OLDEST} cannot be installed: {made.stderr.strip().splitlines()[-1:]}"
                pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[Callable[[Path | None, tuple[str, ...]], ForkServer]]:
    running: dict[tuple, ForkServer] = {}

    def start(path: Path | None, preload: tuple[str, ...] = PRELOADED) -> ForkServer:
        if (path, preload) not in running:
            running[path, preload] = ForkServer(path, preload)
        return running[path, preload]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture(params=["newest", pytest.param("oldest", marks=pytest.mark.slow)])
def generation(request: pytest.FixtureRequest) -> Path | None:
    """Where the client is: the installed one, or the folder of the oldest supported one."""
    return request.getfixturevalue("oldest_client") if request.param == "oldest" else None


@pytest.fixture
def client(generation: Path | None, fork_servers: Callable, hub: HubServer, tmp_path: Path) -> Client:
    """A machine with an empty cache and no token, its client of either generation."""
    return Client(fork_servers(generation), tmp_path / "client", hub.endpoint)


@pytest.fixture
def newest(fork_servers: Callable, hub: HubServer, tmp_path: Path) -> Client:
    """A machine with the installed client, for what does not depend on the generation."""
    return Client(fork_servers(None), tmp_path / "client", hub.endpoint)


@pytest.fixture
def commit(hub: HubServer) -> str:
    """A model on the Hub, `zoo-org/tiny`; its commit."""
    return hub.state.put("zoo-org/tiny", models.files(models.weights()))


@pytest.fixture
def folder(client: Client) -> Path:
    """A card folder, `tiny`, and a token that may write."""
    client.env["HF_TOKEN"] = "hf_writer"
    return models.write_folder(client.home / "tiny", models.weights())


@pytest.fixture
def newest_folder(newest: Client) -> Path:
    """The same for the installed client."""
    newest.env["HF_TOKEN"] = "hf_writer"
    return models.write_folder(newest.home / "tiny", models.weights())
