"""Where a model is found, who may have it, and the command that fetches it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from . import models
from .client import Client
from .rows import row
from .server import HubServer
from .steps import FETCH, OTHER, RESOLVE, WEIGHTS, flip


@row(
    "machine",
    "a model that was pulled before, by its commit",
    "no request at all; the pin is said when a branch is asked for",
)
def test_a_branch_is_asked_for_once_and_then_nothing_is_asked_for_again(client: Client, hub: HubServer, commit: str):
    first = client.run(FETCH, "hf:zoo-org/tiny")
    assert first.ok()[1] == f"hf:zoo-org/tiny@{commit}"
    assert f"hf:zoo-org/tiny@{commit}" in first.output, "the pin is said"
    assert "torch" not in first.modules
    assert Path(first.result[0]).read_bytes() == WEIGHTS
    hub.log.clear()
    client.run(FETCH, "hf:zoo-org/tiny").ok()
    assert {one.method for one in hub.log} == {"HEAD"} and len(hub.asked("HEAD", "/resolve/main/")) == 1
    hub.log.clear()
    client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()
    assert hub.log == []


@row(
    "machine",
    "ZOO_OFFLINE or HF_HUB_OFFLINE",
    "what is cached loads, `main` as it was last time; what is not is an error at once; no request",
)
@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_uses_what_a_branch_meant_last(newest: Client, hub: HubServer, commit: str, variable: str) -> None:
    newest.run(FETCH, "hf:zoo-org/tiny").ok()
    hub.log.clear()
    newest.env[variable] = "1"
    assert newest.run(FETCH, "hf:zoo-org/tiny").ok()[1].endswith(commit)
    assert newest.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()
    assert hub.log == []
    unknown = newest.run(FETCH, "hf:zoo-org/tiny@v9")
    assert "HubError" in unknown.error and "offline" in unknown.message and "zoo pull" in unknown.message
    assert hub.log == []


@row("network", "connection refused", "cached: used, and said; not cached: asked thrice, then an error")
def test_a_hub_that_is_away_leaves_what_is_cached(client: Client, commit: str) -> None:
    client.run(FETCH, "hf:zoo-org/tiny").ok()
    client.endpoint = "http://127.0.0.1:9"
    again = client.run(FETCH, "hf:zoo-org/tiny")
    assert again.ok()[1].endswith(commit) and "meant last time" in again.output
    assert again.seconds < 15
    absent = client.run(FETCH, "hf:zoo-org/absent")
    assert "UnreachableError" in absent.error and "127.0.0.1:9" in absent.message and absent.seconds < 15


def test_tags_and_branches_are_revisions(newest: Client, hub: HubServer, commit: str) -> None:
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    repository.tags["v1.0"] = commit
    repository.branches["dev/x"] = commit
    later = hub.state.put("zoo-org/tiny", models.files(OTHER))
    assert newest.run(FETCH, "hf:zoo-org/tiny@v1.0").ok()[1].endswith(commit)
    assert newest.run(FETCH, "hf:zoo-org/tiny@dev/x").ok()[1].endswith(commit)
    assert newest.run(FETCH, "hf:zoo-org/tiny").ok()[1].endswith(later)
    newest.env["ZOO_OFFLINE"] = "1"
    assert newest.run(FETCH, "hf:zoo-org/tiny@dev/x").ok()[1].endswith(commit)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("hf:zoo-org", "does not name a repository"),
        ("hf:../../etc/passwd", "does not name a repository"),
        ("hf:a/b/c", "does not name a repository"),
        ("hf:zoo-org/tiny@../../x", "is not a revision"),
        ("hf:zoo-org/tiny@", "is not a revision"),
    ],
)
def test_malformed_addresses(newest: Client, hub: HubServer, address: str, says: str) -> None:
    outcome = newest.run(FETCH, address)
    assert "HubError" in outcome.error and says in outcome.message
    assert hub.log == []


def test_a_repository_without_config_loads_and_asks_once(newest: Client, hub: HubServer) -> None:
    files = models.files(WEIGHTS)
    del files["config.json"]
    commit = hub.state.put("zoo-org/bare", files)
    newest.run(FETCH, f"hf:zoo-org/bare@{commit}").ok()
    hub.log.clear()
    newest.run(FETCH, f"hf:zoo-org/bare@{commit}").ok()
    assert hub.log == []


def test_a_plugin_may_offer_another_source(newest: Client) -> None:
    snippet = (
        "import sys, types\nfrom zoo.registry import host\nmade = types.ModuleType('made')\n"
        "import shutil\nmade.fetch = lambda rest, folder: shutil.copytree(rest, folder / 'x', dirs_exist_ok=True)\n"
        "sys.modules['made'] = made\nhost.fetchers = lambda: {'drawer': 'made:fetch'}\n"
        "host.provider = lambda name, kind: types.SimpleNamespace(package='made')\n"
    )
    models.write_folder(newest.home / "mine", WEIGHTS)
    found = newest.run(snippet + RESOLVE, f"drawer:{newest.home}/mine").ok()
    assert Path(found[0]).read_bytes() == WEIGHTS and str(newest.home / "zoo" / "fetched" / "drawer") in found[0]


# --- who may have it --------------------------------------------------------------------------------------------------


@row(
    "access",
    "private; no token, a wrong one, a stranger's, one that may read",
    "an error that says how to log in, or the right bytes; the token never reaches the CDN, nor a message",
)
@pytest.mark.parametrize(
    ("token", "error", "says"),
    [
        ("hf_writer", None, ""),
        ("hf_reader", None, ""),
        ("", "AccessError", "hf auth login"),
        ("hf_stranger", "AccessError", "does not show it to you"),
        ("hf_wrong", "AccessError", "does not accept the token"),
    ],
)
def test_a_private_repository(client: Client, hub: HubServer, commit: str, token: str, error: str | None, says: str):
    hub.state.repositories["models", "zoo-org/tiny"].private = True
    client.env["HF_TOKEN"] = token
    outcome = client.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    if error is None:
        outcome.ok()
        to_cdn = hub.asked(host="cdn")
        assert to_cdn and all(one.authorization is None for one in to_cdn), "the token stays at the Hub"
        assert all(one.authorization for one in hub.asked(host="hub"))
    else:
        assert error in outcome.error and says in outcome.message and "Fix: " in outcome.message
        assert outcome.seconds < 15
        assert not token or token not in outcome.output


@row("access", "gated", "an error with the page to ask at and how to log in")
def test_a_gated_repository_says_how_to_get_in(client: Client, hub: HubServer, commit: str) -> None:
    hub.state.repositories["models", "zoo-org/tiny"].gated = "manual"
    client.env["HF_TOKEN"] = "hf_stranger"
    outcome = client.run(FETCH, "hf:zoo-org/tiny")
    assert "AccessError" in outcome.error and "gated" in outcome.message
    assert f"{hub.endpoint}/zoo-org/tiny" in outcome.message and "hf auth login" in outcome.message
    hub.state.repositories["models", "zoo-org/tiny"].admitted.add("mallory")
    client.run(FETCH, "hf:zoo-org/tiny").ok()


@row("access", "renamed; deleted", "found under the old name; an error that names the cached commit, which still loads")
def test_a_renamed_repository_is_found_and_a_deleted_one_is_remembered(client: Client, hub: HubServer, commit: str):
    state = hub.state
    client.run(FETCH, "hf:zoo-org/tiny").ok()
    state.repositories["models", "zoo-org/new"] = state.repositories.pop(("models", "zoo-org/tiny"))
    state.moved["models", "zoo-org/tiny"] = "zoo-org/new"
    shutil.rmtree(client.cache)
    assert client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()
    client.run(FETCH, "hf:zoo-org/new").ok()
    del state.repositories["models", "zoo-org/new"]
    gone = client.run(FETCH, "hf:zoo-org/new")
    assert "AccessError" in gone.error and f"is at hand: hf:zoo-org/new@{commit}" in gone.message
    client.run(FETCH, f"hf:zoo-org/new@{commit}").ok()


@row("access", "unknown revision; a file is missing; not a model", "an error that says which")
def test_unknown_revision_and_file(client: Client, hub: HubServer, commit: str) -> None:
    revision = client.run(FETCH, "hf:zoo-org/tiny@v9")
    assert "AccessError" in revision.error and "no revision 'v9'" in revision.message
    hub.state.put("zoo-org/bare", {"a.txt": b"hello"})
    bare = client.run(FETCH, "hf:zoo-org/bare")
    assert "HubError" in bare.error and "not a repository of the zoo" in bare.message
    files = models.files(WEIGHTS)
    del files["model.safetensors"]
    hub.state.put("zoo-org/half", files)
    half = client.run(FETCH, "hf:zoo-org/half")
    assert "AccessError" in half.error and "model.safetensors" in half.message and "no such file" in half.message


# --- the command ------------------------------------------------------------------------------------------------------


@row("machine", "`zoo pull --to`", "a folder that appears whole or not at all, without links")
def test_pull_to_a_folder(client: Client, hub: HubServer) -> None:
    extra = {"parity.png": b"\x89PNG", "evaluation.yaml": b"a: 1\n", "run.py": b"boom", "notes.txt": b"x"}
    commit = hub.state.put("zoo-org/tiny", {**models.files(WEIGHTS), **extra})
    outcome = client.zoo("pull", "hf:zoo-org/tiny", "--to", "models")
    assert outcome.code == 0, outcome.output
    folder = client.home / "models" / "tiny-qm9"
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "card.yaml", "config.json", "evaluation.yaml", "model.safetensors", "parity.png"]  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS and not (folder / "card.yaml").is_symlink()
    assert "run.py" in outcome.output and "code" in outcome.output and commit in outcome.output
    assert list(folder.parent.iterdir()) == [folder], "nothing half-made is left"
    assert hub.asked("GET", "run.py|notes.txt") == []


def test_pull_does_not_replace_what_it_did_not_make(newest: Client, hub: HubServer, commit: str) -> None:
    models.write_folder(newest.home / "models" / "tiny-qm9", OTHER)
    refused = newest.zoo("pull", "hf:zoo-org/tiny", "--to", "models")
    assert refused.code == 2 and "--force" in refused.output
    weights = newest.home / "models" / "tiny-qm9" / "model.safetensors"
    assert weights.read_bytes() == OTHER
    assert newest.zoo("pull", "hf:zoo-org/tiny", "--to", "models", "--force").code == 0
    assert weights.read_bytes() == WEIGHTS
    assert newest.zoo("pull", "hf:zoo-org/tiny", "--to", "models").code == 0


def test_show_reads_the_card_and_leaves_the_weights(newest: Client, hub: HubServer, commit: str) -> None:
    shown = newest.zoo("show", "hf:zoo-org/tiny", "--json")
    assert shown.code == 0 and "tiny-qm9" in shown.output and hub.asked(host="cdn") == []


def test_errors_of_the_command_have_no_traceback(newest: Client) -> None:
    newest.endpoint = "http://127.0.0.1:9"
    outcome = newest.zoo("pull", "hf:zoo-org/tiny")
    assert outcome.code == 2 and "Traceback" not in outcome.output and "Fix: " in outcome.output


def test_cache_list_verify_prune(newest: Client, hub: HubServer, commit: str) -> None:
    hub.state.put("someone/else", {"config.json": b"{}"})
    newest.run("from huggingface_hub import hf_hub_download\nhf_hub_download('someone/else', 'config.json')").ok()
    path = Path(newest.run(FETCH, "hf:zoo-org/tiny").ok()[0])
    listed = json.loads(newest.zoo("cache", "list", "--json").output)
    assert [one["address"] for one in listed] == [f"hf:zoo-org/tiny@{commit}"] and listed[0]["whole"]
    assert newest.zoo("cache", "verify").code == 0
    flip(path, keep_date=True)
    left = path.resolve().parent / "abc.12345678.incomplete"
    left.write_bytes(b"x" * 1000)
    os.utime(left, (1, 1))
    damaged = newest.zoo("cache", "verify")
    assert damaged.code == 2 and str(path) in damaged.output
    pruned = newest.zoo("cache", "prune")
    assert pruned.code == 0 and "model.safetensors" in pruned.output
    assert not path.exists() and not left.exists()
    assert newest.zoo("cache", "verify").code == 0
    assert Path(newest.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0]).read_bytes() == WEIGHTS
    newest.zoo("cache", "prune", "hf:zoo-org/tiny")
    assert json.loads(newest.zoo("cache", "list", "--json").output) == []
    assert list((newest.cache / "models--zoo-org--tiny" / "blobs").glob("*")) == []
    assert list(newest.cache.rglob("models--someone--else/snapshots/*/config.json")), "others' files stay"
