"""The loopback hub is what the unmodified client takes for the real one."""

from __future__ import annotations

import hashlib

import pytest

from .client import Client
from .server import HubServer

# The hub's tests of itself; those of the zoo are in the other files.
pytestmark = pytest.mark.slow

API = "from huggingface_hub import HfApi, hf_hub_download, get_hf_file_metadata, hf_hub_url, CommitOperationAdd\n"
DATA = bytes(range(256)) * 512


@pytest.fixture
def scene(hub: HubServer) -> str:
    """A repository with a small file, one in a folder and a large one; its commit."""
    return hub.state.put("alice/m", {"a.json": b"{}", "sub/b.txt": b"beta", "w.safetensors": DATA})


def test_whoami_knows_good_and_wrong_tokens(client: Client) -> None:
    good = client.run(API + "result = HfApi(token='hf_writer').whoami()").ok()
    assert good["name"] == "alice" and good["auth"]["accessToken"]["role"] == "write"
    assert "HfHubHTTPError" in client.run(API + "HfApi(token='hf_wrong').whoami()").error


def test_repositories_are_made_renamed_and_deleted(client: Client, hub: HubServer) -> None:
    client.env["HF_TOKEN"] = "hf_writer"
    client.run(API + "HfApi().create_repo('alice/m', private=True)").ok()
    assert hub.state.repositories["models", "alice/m"].private
    assert "HfHubHTTPError" in client.run(API + "HfApi().create_repo('alice/m')").error
    client.run(API + "HfApi().create_repo('alice/m', exist_ok=True)").ok()
    client.run(API + "HfApi().create_repo('zoo-org/d', repo_type='dataset')").ok()
    assert ("datasets", "zoo-org/d") in hub.state.repositories
    assert "403" in client.run(API + "HfApi().create_repo('someone/m')").message
    client.run(API + "HfApi().move_repo('alice/m', 'alice/n')").ok()
    assert client.run(API + "result = HfApi().model_info('alice/m').id").ok() == "alice/n"
    client.run(API + "HfApi().delete_repo('alice/n')").ok()
    assert "RepositoryNotFoundError" in client.run(API + "HfApi().model_info('alice/n')").error


def test_upload_is_one_commit_and_comes_back_whole(client: Client, hub: HubServer) -> None:
    client.env["HF_TOKEN"] = "hf_writer"
    hub.state.create("models", "alice/m")
    commit = client.run(
        API + "ops = [CommitOperationAdd('README.md', b'---\\nlicense: mit\\n---\\n'),"
        " CommitOperationAdd('w.safetensors', bytes(range(256)) * 512)]\n"
        "result = HfApi().create_commit('alice/m', ops, commit_message='all at once').oid"
    ).ok()
    repository = hub.state.repositories["models", "alice/m"]
    assert repository.head.oid == commit and len(repository.commits) == 2
    assert repository.head.files["w.safetensors"].data == DATA and repository.head.files["w.safetensors"].large
    assert not repository.head.files["README.md"].large
    path = client.run(API + "result = hf_hub_download('alice/m', 'w.safetensors', revision=args[0])", commit).ok()
    with open(path, "rb") as handle:
        assert hashlib.sha256(handle.read()).hexdigest() == hashlib.sha256(DATA).hexdigest()


def test_upload_in_parts(client: Client, hub: HubServer) -> None:
    client.env["HF_TOKEN"] = "hf_writer"
    hub.state.create("models", "alice/m")
    hub.large_chunk = 50_000
    client.run(
        API + "ops = [CommitOperationAdd('w.bin', bytes(range(256)) * 512)]\n"
        "HfApi().create_commit('alice/m', ops, commit_message='parts')"
    ).ok()
    assert len(hub.asked("PUT", "/uploads/.*/[0-9]+$", "cdn")) == 3
    assert hub.state.repositories["models", "alice/m"].head.files["w.bin"].data == DATA


def test_unchanged_files_make_no_commit_and_a_stale_parent_is_refused(client: Client, hub: HubServer) -> None:
    client.env["HF_TOKEN"] = "hf_writer"
    first = hub.state.put("alice/m", {"a.json": b"{}"})
    same = "ops = [CommitOperationAdd('a.json', b'{}')]\n"
    make = "result = HfApi().create_commit('alice/m', ops, commit_message='again', parent_commit=args[0]).oid"
    assert client.run(API + same + make, first).ok() == first
    hub.state.put("alice/m", {"b.json": b"{}"})
    other = "ops = [CommitOperationAdd('a.json', b'[]')]\n"
    assert "412" in client.run(API + other + make, first).message


def test_tags_branches_and_history(client: Client, hub: HubServer, scene: str) -> None:
    client.env["HF_TOKEN"] = "hf_writer"
    client.run(API + "HfApi().create_tag('alice/m', tag='v1.0')").ok()
    client.run(API + "HfApi().create_branch('alice/m', branch='dev/x')").ok()
    assert "409" in client.run(API + "HfApi().create_tag('alice/m', tag='v1.0')").message
    refs = client.run(
        API + "r = HfApi().list_repo_refs('alice/m')\n"
        "result = [[t.name, t.target_commit] for t in r.tags] + [[b.name, b.target_commit] for b in r.branches]"
    ).ok()
    assert refs == [["v1.0", scene], ["dev/x", scene], ["main", scene]]
    read = "result = open(hf_hub_download('alice/m', 'a.json', revision='dev/x')).read()"
    assert client.run(API + read).ok() == "{}"
    titles = client.run(API + "result = [c.title for c in HfApi().list_repo_commits('alice/m')]").ok()
    assert titles == ["Add files", "init"]
    client.run(API + "HfApi().delete_tag('alice/m', tag='v1.0')\nHfApi().delete_branch('alice/m', branch='dev/x')").ok()
    assert hub.state.repositories["models", "alice/m"].tags == {}


def test_listing_and_metadata(client: Client, hub: HubServer, scene: str) -> None:
    hub.page_size = 2
    tree = client.run(
        API + "result = [t.path for t in HfApi().list_repo_tree('alice/m', recursive=True)]"
    ).ok()
    assert sorted(tree) == [".gitattributes", "a.json", "sub", "sub/b.txt", "w.safetensors"]
    sizes = client.run(
        API + "result = [[i.path, i.size, i.lfs and i.lfs.sha256] for i in"
        " HfApi().get_paths_info('alice/m', ['w.safetensors', 'a.json', 'nothing'])]"
    ).ok()
    assert sizes == [["w.safetensors", len(DATA), hashlib.sha256(DATA).hexdigest()], ["a.json", 2, None]]
    info = client.run(
        API + "i = HfApi().model_info('alice/m', files_metadata=True)\n"
        "result = [i.sha, {s.rfilename: s.size for s in i.siblings}['w.safetensors']]"
    ).ok()
    assert info == [scene, len(DATA)]
    head = client.run(
        API + "m = get_hf_file_metadata(hf_hub_url('alice/m', 'w.safetensors'))\n"
        "result = [m.commit_hash, m.etag, m.size]"
    ).ok()
    assert head == [scene, hashlib.sha256(DATA).hexdigest(), len(DATA)]


def test_snapshot_and_the_way_of_a_large_file(client: Client, hub: HubServer, scene: str) -> None:
    snapshot = "from huggingface_hub import snapshot_download\nresult = snapshot_download('alice/m', token='hf_reader')"
    folder = client.run(snapshot).ok()
    assert folder.endswith(scene)
    with open(f"{folder}/sub/b.txt") as handle:
        assert handle.read() == "beta"
    to_cdn = hub.asked("GET", "/files/", "cdn")
    assert len(to_cdn) == 1 and to_cdn[0].authorization is None
    assert all(one.authorization == "Bearer hf_reader" for one in hub.asked("HEAD", "resolve", "hub"))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("hf_hub_download('alice/none', 'a.json')", "RepositoryNotFoundError"),
        ("hf_hub_download('alice/m', 'none.json')", "RemoteEntryNotFoundError"),
        ("hf_hub_download('alice/m', 'a.json', revision='v9')", "RevisionNotFoundError"),
        ("hf_hub_download('alice/m', 'a.json', token='hf_wrong')", "HfHubHTTPError"),
        ("hf_hub_download('alice/private', 'a.json')", "RepositoryNotFoundError"),
        ("hf_hub_download('alice/private', 'a.json', token='hf_stranger')", "RepositoryNotFoundError"),
        ("hf_hub_download('alice/gated', 'a.json')", "GatedRepoError"),
        ("hf_hub_download('alice/gated', 'a.json', token='hf_stranger')", "GatedRepoError"),
        ("HfApi(token='hf_reader').create_tag('alice/m', tag='v1')", "HfHubHTTPError"),
    ],
)
def test_refusals_are_errors_of_the_client(
    newest: Client, hub: HubServer, scene: str, call: str, error: str
) -> None:
    for name in ("private", "gated"):
        hub.state.put(f"alice/{name}", {"a.json": b"{}"})
    hub.state.repositories["models", "alice/private"].private = True
    hub.state.repositories["models", "alice/gated"].gated = "auto"
    assert error in newest.run(API + call).error


@pytest.mark.parametrize("kind", ["flip", "chunked", "norange"])
def test_faults_that_the_client_takes(newest: Client, hub: HubServer, scene: str, kind: str) -> None:
    """Among them wrong bytes of the right size: the reason for checks of our own."""
    hub.fail(kind, "/files/")
    path = newest.run(API + "result = hf_hub_download('alice/m', 'w.safetensors')").ok()
    with open(path, "rb") as handle:
        assert (handle.read() == DATA) == (kind != "flip")


@pytest.mark.parametrize("fault", [{"kind": "reset"}, {"kind": "reset", "after": 9}, {"kind": "short", "after": 9},
                                   {"kind": "status", "status": 500}, {"kind": "status", "status": 403}])  # fmt: skip
def test_faults_that_the_client_reports(newest: Client, hub: HubServer, scene: str, fault: dict) -> None:
    hub.fail(path="/files/", method="GET", **fault)
    outcome = newest.run(API + "hf_hub_download('alice/m', 'w.safetensors')")
    assert outcome.error and outcome.seconds < 15


def test_a_stopped_hub_answers_nobody(newest: Client) -> None:
    """Not even a connection that was open."""
    with HubServer() as other:
        other.state.put("alice/m", {"a.json": b"{}"})
        newest.endpoint = other.endpoint
        newest.run(API + "HfApi().model_info('alice/m')").ok()
    assert "ConnectError" in newest.run(API + "HfApi().model_info('alice/m')").error
