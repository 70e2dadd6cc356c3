"""Pulling and resolving: the right bytes from the nearest place, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import models
from .client import Client
from .rows import row
from .server import HubServer

FETCH = "from zoo.hub import fetch\nr = fetch(args[0])\nresult = [str(r.weights), str(r.address)]"
RESOLVE = "from zoo.resolution import resolve\nr = resolve(args[0])\nresult = [str(r.weights), r.origin]"
WEIGHTS = models.weights()
OTHER = models.weights(seed=1)


@pytest.fixture
def commit(hub: HubServer) -> str:
    """A model on the Hub; its commit."""
    return hub.state.put("zoo-org/tiny", models.files(WEIGHTS))


def flip(path: Path, keep_date: bool = False) -> None:
    """Change one bit of a file, in place, leaving its size and, if wanted, its date."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    target = path.resolve()
    target.write_bytes(bytes(data))
    if keep_date:
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


# --- where it is found ------------------------------------------------------------------------------------------------


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
        "import sys, types\nfrom zoo import host\nmade = types.ModuleType('made')\n"
        "import shutil\nmade.fetch = lambda rest, folder: shutil.copytree(rest, folder / 'x', dirs_exist_ok=True)\n"
        "sys.modules['made'] = made\nhost.fetchers = lambda: {'drawer': 'made:fetch'}\n"
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
        assert error in outcome.error and says in outcome.message and "to mend it" in outcome.message
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


# --- what is refused --------------------------------------------------------------------------------------------------


@row("content", "only `.bin`, `.pt`, `.py` …", "refused by name, never downloaded")
def test_pickles_are_named_and_never_fetched(newest: Client, hub: HubServer) -> None:
    hub.state.put("zoo-org/pickle", {"pytorch_model.bin": b"\x80\x04.", "config.json": b"{}", "modeling.py": b"boom"})
    outcome = newest.run(FETCH, "hf:zoo-org/pickle")
    assert "HubError" in outcome.error and "pytorch_model.bin" in outcome.message and "refused" in outcome.message
    assert hub.asked("GET", "/resolve") == [] and hub.asked(host="cdn") == []


@row("content", "a card that points at a pickle, another folder, `/etc/passwd`", "refused before any download")
@pytest.mark.parametrize("file", ["model.pt", "model.bin", "model.pkl", "model.py", "../model.safetensors",
                                  "/etc/passwd", "sub/model.safetensors", "model.h5", ".safetensors"])  # fmt: skip
def test_a_card_cannot_point_at_anything_but_safetensors_beside_it(newest: Client, hub: HubServer, file: str) -> None:
    files = models.files(WEIGHTS)
    text = files["card.yaml"].decode().replace("model.safetensors", file)
    assert file in text
    hub.state.put("zoo-org/evil", {**files, "card.yaml": text.encode()})
    outcome = newest.run(FETCH, "hf:zoo-org/evil")
    assert outcome.error is not None and "ZooError" in outcome.error, outcome.output
    assert hub.asked(host="cdn") == [], "nothing was downloaded"


@row("content", "a card with YAML tags, aliases, unknown keys", "refused with its line; nothing runs")
@pytest.mark.parametrize(
    "line", ["config: !!python/object/apply:os.system ['touch owned']", "config: &a {b: 1}\nnotes: *a", "surprise: 1"]
)
def test_a_hostile_card_is_only_text(newest: Client, hub: HubServer, line: str) -> None:
    files = models.files(WEIGHTS)
    text = files["card.yaml"].decode().replace("config: {cutoff: 5.0}", line)
    assert line in text
    hub.state.put("zoo-org/evil", {**files, "card.yaml": text.encode()})
    outcome = newest.run(FETCH, "hf:zoo-org/evil")
    assert "CardError" in outcome.error and "hf:zoo-org/evil" in outcome.message
    assert not (newest.home / "owned").exists()


def bad_weights() -> dict[str, bytes]:
    header = WEIGHTS[8 : 8 + struct.unpack("<Q", WEIGHTS[:8])[0]]
    huge = json.dumps({"weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4 << 40]}}).encode()
    return {
        "header longer than the file": struct.pack("<Q", 1 << 40) + WEIGHTS[8:],
        "header cut off": WEIGHTS[:6],
        "absurd shape": struct.pack("<Q", len(huge)) + huge,
        "offsets outside the data": WEIGHTS[: 8 + len(header)] + WEIGHTS[8 + len(header) : -400],
        "not safetensors": b"\x80\x04\x95" + bytes(2000),
    }


@row(
    "content",
    "header longer than the file, absurd shapes, truncated, not safetensors",
    "refused before memory is taken, although the hash is right",
)
@pytest.mark.parametrize("kind", sorted(bad_weights()))
def test_malformed_weights_are_refused_though_their_hash_is_right(newest: Client, hub: HubServer, kind: str) -> None:
    hub.state.put("zoo-org/evil", models.files(bad_weights()[kind]))
    outcome = newest.run(FETCH, "hf:zoo-org/evil")
    assert outcome.error is not None and "WeightsError" in outcome.error, outcome.output
    assert "safetensors" in outcome.message


@row("content", "other weights than the card promises", "refused before the download, both hashes named")
def test_weights_that_are_not_those_of_the_card_are_not_even_downloaded(client: Client, hub: HubServer) -> None:
    files = models.files(WEIGHTS)
    hub.state.put("zoo-org/swapped", {**files, "model.safetensors": OTHER})
    outcome = client.run(FETCH, "hf:zoo-org/swapped")
    assert "WeightsError" in outcome.error and hub.asked(host="cdn") == []
    for data in (WEIGHTS, OTHER):
        assert hashlib.sha256(data).hexdigest() in outcome.message


@row("content", "`card.yaml` and `config.json` disagree", "refused")
def test_a_card_and_a_config_that_disagree_are_refused(newest: Client, hub: HubServer) -> None:
    config = models.files(OTHER)["config.json"]
    hub.state.put("zoo-org/torn", {**models.files(WEIGHTS), "config.json": config})
    outcome = newest.run(FETCH, "hf:zoo-org/torn")
    assert "WeightsError" in outcome.error and "contradicts itself" in outcome.message


@row(
    "content",
    "an architecture that nothing installed offers",
    "an error with the `pip install` line; no code is fetched",
)
def test_an_architecture_nobody_offers_says_what_to_install(newest: Client, hub: HubServer) -> None:
    requires = {"plugin": "zoo-martian"}
    hub.state.put("zoo-org/martian", models.files(WEIGHTS, architecture="martian", requires=requires))
    outcome = newest.run("import zoo\nzoo.load('hf:zoo-org/martian')")
    assert "ZooError" in outcome.error and "pip install" in outcome.message and "zoo-martian" in outcome.message


# --- a cache that heals -----------------------------------------------------------------------------------------------


@row("machine", "a bit flips in the cache, also under an old date", "seen, downloaded again")
@pytest.mark.parametrize("keep_date", [False, True])
def test_a_flipped_bit_in_the_cache_is_seen_and_mended(client: Client, hub: HubServer, commit: str, keep_date: bool):
    path = Path(client.run(FETCH, f"hf:zoo-org/tiny@{commit}").ok()[0])
    flip(path, keep_date)
    hub.log.clear()
    mended = client.run(FETCH, f"hf:zoo-org/tiny@{commit}")
    assert Path(mended.ok()[0]).read_bytes() == WEIGHTS and "downloading it again" in mended.output
    assert len(hub.asked("GET", host="cdn")) == 1


@row("machine", "a damaged file in the cache, offline", "an error with the path and the command that mends it")
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
        "import zoo.weights as w\nhashed = []\nreal = w.sha256_of\n"
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


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


# --- names, folders, search path --------------------------------------------------------------------------------------


def user_registry(client: Client, text: str) -> None:
    (client.home / "zoo").mkdir(exist_ok=True)
    (client.home / "zoo" / "registry.yaml").write_text(f"schema: 1\nmodels:\n{text}")


def test_a_pinned_name_needs_no_network_once_it_was_pulled(client: Client, hub: HubServer, commit: str) -> None:
    user_registry(client, f"  tiny-qm9: {{hub: zoo-org/tiny@{commit}}}\n")
    hub.state.put("zoo-org/tiny", models.files(OTHER))
    assert Path(client.run(RESOLVE, "tiny-qm9").ok()[0]).read_bytes() == WEIGHTS
    hub.log.clear()
    client.run(RESOLVE, "tiny-qm9").ok()
    assert hub.log == []


@row("content", "card and weights both exchanged on the Hub", "refused: the registered card's promise holds")
def test_the_promise_of_a_card_at_hand_holds(newest: Client, hub: HubServer) -> None:
    """Whoever changes both the card and the weights of a repository cannot change what a registered card promised."""
    commit = hub.state.put("zoo-org/tiny", models.files(OTHER))
    folder = models.write_folder(newest.home / "cards" / "tiny", WEIGHTS)
    (folder / "model.safetensors").unlink()
    user_registry(newest, f"  tiny-qm9: {{card: {folder}/card.yaml, hub: zoo-org/tiny@{commit}}}\n")
    outcome = newest.run(RESOLVE, "tiny-qm9")
    assert "WeightsError" in outcome.error and hashlib.sha256(WEIGHTS).hexdigest() in outcome.message


def test_the_search_path_comes_before_the_hub(newest: Client, hub: HubServer, commit: str) -> None:
    folder = models.write_folder(newest.home / "cards" / "tiny", WEIGHTS)
    (folder / "model.safetensors").unlink()
    user_registry(newest, f"  tiny-qm9: {{card: {folder}/card.yaml, hub: zoo-org/tiny@{commit}}}\n")
    newest.zoo("pull", "tiny-qm9", "--to", "shared")
    newest.env["ZOO_PATH"] = str(newest.home / "shared")
    shutil.rmtree(newest.cache)
    hub.log.clear()
    found = newest.run(RESOLVE, "tiny-qm9")
    assert found.ok()[0] == str(newest.home / "shared" / "tiny-qm9" / "model.safetensors")
    assert hub.log == [] and "huggingface_hub" not in found.modules


def test_a_name_that_cannot_be_had_shows_what_was_tried(newest: Client, hub: HubServer) -> None:
    pin = f"zoo-org/gone@{'0' * 40}"
    user_registry(newest, f"  tiny-qm9: {{hub: {pin}}}\n")
    newest.env["ZOO_PATH"] = str(newest.home)
    models.write_folder(newest.home / "other", WEIGHTS, name="other")
    outcome = newest.run(RESOLVE, "tiny-qm9")
    assert "HubError" in outcome.error
    tried = [line.strip().split(":")[0] for line in outcome.message.splitlines()[1:] if line.startswith("  ")]
    assert tried[:3] == ["user", "ZOO_PATH", "the Hub"] and pin in outcome.message


def test_a_bare_repository_name_is_refused_with_both_ways_to_say_it(newest: Client, hub: HubServer) -> None:
    outcome = newest.run(RESOLVE, "zoo-org/tiny")
    assert "UnknownNameError" in outcome.error
    assert "hf:zoo-org/tiny" in outcome.message and "dir:zoo-org/tiny" in outcome.message
    assert hub.log == []


def test_a_folder_needs_no_client(newest: Client, hub: HubServer) -> None:
    models.write_folder(newest.home / "mine", WEIGHTS)
    found = newest.run(RESOLVE, "mine")
    assert found.ok()[0].endswith("mine/model.safetensors")
    assert found.modules == [] and hub.log == []


@row("content", "a card folder whose weights are a link to elsewhere", "refused")
def test_a_folder_cannot_point_out_of_itself(newest: Client) -> None:
    folder = models.write_folder(newest.home / "mine", WEIGHTS)
    (folder / "model.safetensors").rename(newest.home / "outside.safetensors")
    (folder / "model.safetensors").symlink_to("../outside.safetensors")
    outcome = newest.run(RESOLVE, "mine")
    assert "WeightsError" in outcome.error and "leads out" in outcome.message


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


def test_errors_of_the_command_have_no_traceback(newest: Client) -> None:
    newest.endpoint = "http://127.0.0.1:9"
    outcome = newest.zoo("pull", "hf:zoo-org/tiny")
    assert outcome.code == 2 and "Traceback" not in outcome.output and "to mend it" in outcome.output


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
