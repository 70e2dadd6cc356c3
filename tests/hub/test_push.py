"""Pushing: one commit that is whole, nobody else's work overwritten, nothing that should stay at home."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from . import models
from .client import Client, Outcome
from .rows import row
from .server import HubServer
from .test_pull import RESOLVE, user_registry, wait_for

WEIGHTS = models.weights()
OTHER = models.weights(seed=1)
FILES = {"README.md", "card.yaml", "config.json", "model.safetensors"}


@pytest.fixture
def folder(client: Client) -> Path:
    """A card folder, and a token that may write."""
    client.env["HF_TOKEN"] = "hf_writer"
    return models.write_folder(client.home / "tiny", WEIGHTS)


@pytest.fixture
def newest_folder(newest: Client) -> Path:
    newest.env["HF_TOKEN"] = "hf_writer"
    return models.write_folder(newest.home / "tiny", WEIGHTS)


def push(client: Client, *options: str) -> Outcome:
    return client.zoo("push", "tiny", "zoo-org/tiny", *options)


def there(hub: HubServer, name: str = "zoo-org/tiny") -> dict[str, bytes]:
    files = hub.state.repositories["models", name].head.files
    return {path: blob.data for path, blob in files.items() if path != ".gitattributes"}


@row("push", "a new model", "one commit, a tag, a pin; loads elsewhere by the pin alone")
def test_a_card_folder_becomes_a_repository_in_one_commit(client: Client, hub: HubServer, folder: Path) -> None:
    outcome = push(client, "--tag", "v1.0")
    assert outcome.code == 0, outcome.output
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert len(repository.history("main")) == 2 and not repository.private
    assert set(there(hub)) == FILES and there(hub)["model.safetensors"] == WEIGHTS
    assert repository.head.files["model.safetensors"].large
    assert repository.tags == {"v1.0": repository.head.oid}
    pin = f"zoo-org/tiny@{repository.head.oid}"
    assert pin in outcome.output and pin in (client.home / "zoo" / "registry.yaml").read_text()
    # From another machine, by the pin alone.
    (folder / "model.safetensors").unlink()
    found = client.run(RESOLVE, "tiny-qm9")
    assert Path(found.ok()[0]).read_bytes() == WEIGHTS and found.result[1] == f"hf:{pin}"


@row("push", "the same again", "no commit, no upload")
def test_pushing_twice_changes_nothing(client: Client, hub: HubServer, folder: Path) -> None:
    push(client, "--tag", "v1.0")
    first = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    registry = (client.home / "zoo" / "registry.yaml").read_text()
    hub.log.clear()
    again = push(client, "--tag", "v1.0")
    assert again.code == 0 and "has all of it" in again.output
    assert hub.state.repositories["models", "zoo-org/tiny"].head.oid == first
    assert (client.home / "zoo" / "registry.yaml").read_text() == registry
    assert hub.asked("POST", "/commit/") == [] and hub.asked("PUT") == []


def test_a_new_version_is_a_new_commit_and_the_old_pin_is_shown(newest: Client, hub: HubServer, newest_folder: Path):
    push(newest)
    first = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    models.write_folder(newest_folder, OTHER)
    outcome = push(newest)
    second = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    assert second != first and f"(was zoo-org/tiny@{first})" in outcome.output and second in outcome.output
    assert there(hub)["model.safetensors"] == OTHER


def test_the_page_is_one_the_hub_understands(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    push(newest)
    read = (
        "from huggingface_hub import ModelCard\ncard = ModelCard(args[0])\nd = card.data\n"
        "e = d.eval_results[0]\nresult = [d.library_name, d.pipeline_tag, d.license, d.tags, d.datasets, d.model_name,"
        " e.dataset_name, e.dataset_split, e.metric_type, e.metric_value, e.metric_name]"
    )
    read = newest.run(read, there(hub)["README.md"].decode()).ok()
    assert read[:3] == ["zoo", "graph-ml", "mit"] and "schnet" in read[3]
    assert read[4:] == [["qm9"], "tiny-qm9", "qm9", "test", "mae", 0.021, "U0 MAE (eV)"]
    config = json.loads(there(hub)["config.json"])
    assert config["architecture"] == "schnet" and config["units"] == {"U0": "eV"}
    assert config["weights"]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert "zoo.load(" in there(hub)["README.md"].decode()


@row("push", "somebody wrote their own README on the Hub", "left as it is, and said")
def test_a_handwritten_page_is_left_alone(client: Client, hub: HubServer, folder: Path) -> None:
    push(client)
    edited = there(hub)["README.md"] + b"\nTry it on sugar!\n"
    hub.state.put("zoo-org/tiny", {"README.md": edited})
    models.write_folder(folder, OTHER)
    outcome = push(client)
    assert outcome.code == 0 and "somebody's own" in outcome.output
    assert there(hub)["README.md"] == edited and there(hub)["model.safetensors"] == OTHER


def test_a_page_of_ours_follows_the_card(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    push(newest)
    models.write_folder(newest_folder, WEIGHTS, summary="Now with a better summary.")
    push(newest)
    assert b"Now with a better summary." in there(hub)["README.md"]


@row("push", "a token or a path of this machine in a file", "refused with file and line; nothing is sent")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("notes: see /home/alice/data/run7", "/home/alice/data/run7"),
        ("notes: 'C:\\Users\\alice\\run'", "C:\\Users\\alice\\run"),
        ("notes: token hf_AbCdEfGhIjKlMnOpQrStUvWx", "token"),
    ],
)
def test_secrets_and_paths_stay_here(newest: Client, hub: HubServer, newest_folder: Path, content: str, says: str):
    card = newest_folder / "card.yaml"
    card.write_text(card.read_text() + content + "\n")
    outcome = push(newest)
    assert outcome.code == 2 and says in outcome.output and "card.yaml:" in outcome.output
    assert hub.log == []


@row("push", "pickles, code, logs, links beside the card", "stay here, and are named")
def test_what_is_no_part_of_a_model_stays_here(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    for name in ("checkpoint.pt", "model.pkl", "train.py", "log.txt", ".env"):
        (newest_folder / name).write_bytes(b"x")
    (newest_folder / "parity.png").write_bytes(b"\x89PNG\0")
    (newest_folder / "link.png").symlink_to("/etc/hostname")
    (newest_folder / "runs").mkdir()
    outcome = push(newest)
    assert outcome.code == 0 and "checkpoint.pt: a pickle" in outcome.output and "train.py: code" in outcome.output
    assert set(there(hub)) == FILES | {"parity.png"}
    assert b"![parity](parity.png)" in there(hub)["README.md"]


@row("push", "weights that are not those of the card", "refused; nothing is sent")
@pytest.mark.parametrize("damage", ["hash", "truncated", "missing", "no weights"])
def test_only_what_the_card_promises_is_pushed(newest: Client, hub: HubServer, newest_folder: Path, damage: str):
    file = newest_folder / "model.safetensors"
    if damage == "hash":
        file.write_bytes(OTHER)
    elif damage == "truncated":
        file.write_bytes(WEIGHTS[:-4])
    elif damage == "missing":
        file.unlink()
    else:
        models.card(WEIGHTS).replace(weights=None).save(newest_folder)
    outcome = push(newest)
    assert outcome.code == 2 and "Traceback" not in outcome.output and hub.log == []


def test_dry_run_sends_nothing(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    outcome = push(newest, "--dry-run")
    assert outcome.code == 0 and all(name in outcome.output for name in FILES)
    assert hub.log == [] and not (newest.home / "zoo" / "registry.yaml").exists()


# --- who may ----------------------------------------------------------------------------------------------------------


@row(
    "push",
    "no token, a wrong one, one that may only read, a stranger's",
    "an error that says what is needed; nothing is recorded",
)
@pytest.mark.parametrize(
    ("token", "says"),
    [("", "hf auth login"), ("hf_wrong", "hf auth login"), ("hf_reader", "write"), ("hf_stranger", "rights")],
)
def test_tokens_that_may_not(client: Client, hub: HubServer, folder: Path, token: str, says: str) -> None:
    client.env["HF_TOKEN"] = token
    outcome = push(client)
    assert outcome.code == 2 and says in outcome.output and "Traceback" not in outcome.output
    assert ("models", "zoo-org/tiny") not in hub.state.repositories
    assert not token or token not in outcome.output
    assert not (client.home / "zoo" / "registry.yaml").exists()
    hub.state.create("models", "zoo-org/tiny")
    outcome = push(client)
    assert outcome.code == 2 and "to mend it" in outcome.output
    assert there(hub) == {}


@row("push", "`--private`, and the repository is public", "refused; nothing is sent")
def test_private_means_private(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    assert push(newest, "--private").code == 0
    assert hub.state.repositories["models", "zoo-org/tiny"].private
    hub.state.repositories["models", "zoo-org/tiny"].private = False
    models.write_folder(newest_folder, OTHER)
    outcome = push(newest, "--private")
    assert outcome.code == 2 and "public already" in outcome.output
    assert there(hub)["model.safetensors"] == WEIGHTS


# --- others at work ---------------------------------------------------------------------------------------------------


@row("push", "others changed the model since the recorded pin", "reported with both commits; `--replace` overwrites")
def test_what_others_changed_since_is_not_overwritten(client: Client, hub: HubServer, folder: Path) -> None:
    push(client)
    theirs = models.files(OTHER)
    moved = hub.state.put("zoo-org/tiny", theirs)
    models.write_folder(folder, models.weights(seed=2))
    outcome = push(client)
    assert outcome.code == 2 and moved in outcome.output and "--replace" in outcome.output
    assert there(hub)["model.safetensors"] == OTHER
    assert push(client, "--replace").code == 0
    assert there(hub)["model.safetensors"] == models.weights(seed=2)


@row("push", "somebody pushes at the same moment", "reported; theirs stays")
def test_a_commit_in_between_is_reported(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    """Somebody pushes after we have looked and before we commit."""
    hub.state.put("zoo-org/tiny", {"notes.txt": b"1"})
    fault = hub.fail("stall", "/commit/", seconds=1.0)
    newest.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "10"
    job = newest.start("import sys\nsys.argv = ['zoo', 'push', 'tiny', 'zoo-org/tiny']\n"
                       "from zoo.cli import main\nmain()")  # fmt: skip
    wait_for(lambda: fault.hits)
    hub.state.put("zoo-org/tiny", {"card.yaml": b"theirs"})
    hub.faults.clear()
    outcome = job.wait()
    assert outcome.code == 2 and "somebody else pushed" in outcome.output
    assert there(hub)["card.yaml"] == b"theirs" and "model.safetensors" not in there(hub)


@row("push", "the tag exists on another commit", "an error; tags do not move")
def test_a_tag_does_not_move(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    push(newest, "--tag", "v1.0")
    first = hub.state.repositories["models", "zoo-org/tiny"].tags["v1.0"]
    models.write_folder(newest_folder, OTHER)
    outcome = push(newest, "--tag", "v1.0")
    assert outcome.code == 2 and first in outcome.output and "another tag" in outcome.output
    assert hub.state.repositories["models", "zoo-org/tiny"].tags["v1.0"] == first


def test_the_pin_goes_into_the_source_tree_that_the_card_belongs_to(newest: Client, hub: HubServer) -> None:
    newest.env["HF_TOKEN"] = "hf_writer"
    tree = newest.home / "tree"
    models.write_folder(tree / "cards" / "tiny-qm9", WEIGHTS)
    (tree / "registry.yaml").write_text("# ours\nschema: 1\nmodels:\n  tiny-qm9: {card: cards/tiny-qm9/card.yaml}\n")
    assert newest.zoo("push", "tree/cards/tiny-qm9", "zoo-org/tiny").code == 0
    head = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    text = (tree / "registry.yaml").read_text()
    assert f"zoo-org/tiny@{head}" in text and text.startswith("# ours\n")
    assert not (newest.home / "zoo" / "registry.yaml").exists()


# --- faults -----------------------------------------------------------------------------------------------------------

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
    outcome = push(client, "--tag", "v1.0")
    assert outcome.code == 0, outcome.output
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert there(hub)["model.safetensors"] == WEIGHTS and len(repository.history("main")) == 2, "exactly one commit"
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
    outcome = client.zoo("push", "tiny", "zoo-org/tiny", timeout=90)
    assert outcome.code == 2 and says in outcome.output and "Traceback" not in outcome.output
    if ("models", "zoo-org/tiny") in hub.state.repositories:
        assert there(hub) == {}
    assert not (client.home / "zoo" / "registry.yaml").exists()
    hub.faults.clear()
    assert push(client).code == 0
    assert there(hub)["model.safetensors"] == WEIGHTS


@row("push", "kill −9 during the upload or the commit", "nothing half done; the next push makes the one commit")
@pytest.mark.parametrize("where", ["^/uploads/", "/commit/"])
def test_killed_in_mid_push(client: Client, hub: HubServer, folder: Path, where: str) -> None:
    fault = hub.fail("stall", where, seconds=30, times=1)
    client.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "20"
    job = client.start("from zoo.hub import push\npush('tiny', 'zoo-org/tiny')")
    wait_for(lambda: fault.hits)
    job.kill()
    assert job.wait().error == ["Killed"]
    assert there(hub) == {} and not (client.home / "zoo" / "registry.yaml").exists()
    assert push(client).code == 0
    assert there(hub)["model.safetensors"] == WEIGHTS
    assert len(hub.state.repositories["models", "zoo-org/tiny"].history("main")) == 2


@row("push", "kill −9 between commit and pin", "the next push finds its commit, tags and records it")
def test_killed_between_commit_and_pin(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    hub.fail("stall", "/refs", seconds=30, times=1)
    newest.env["HF_HUB_DOWNLOAD_TIMEOUT"] = "20"
    job = newest.start("from zoo.hub import push\npush('tiny', 'zoo-org/tiny', tag='v1')")
    wait_for(lambda: hub.asked("GET", "/refs"))
    job.kill()
    head = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    assert push(newest, "--tag", "v1").code == 0
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert repository.head.oid == head and repository.tags == {"v1": head}
    assert head in (newest.home / "zoo" / "registry.yaml").read_text()


# --- the release ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(client: Client) -> Path:
    """A source tree with two models."""
    client.env["HF_TOKEN"] = "hf_writer"
    tree = client.home / "tree"
    lines = ["schema: 1", "models:"]
    for seed, name in enumerate(["one-qm9", "two-qm9"]):
        models.write_folder(tree / "cards" / name, models.weights(seed), name=name)
        lines.append(f"  {name}: {{card: cards/{name}/card.yaml, hub: null}}")
    (tree / "registry.yaml").write_text("\n".join([*lines, "aliases: {one: one-qm9}", ""]))
    return tree


def publish(client: Client, *options: str) -> Outcome:
    return client.zoo("publish", "--org", "zoo-org", "--registry", "tree/registry.yaml", *options)


def test_a_release_pins_everything_at_once_and_loads_without_weights(client: Client, hub: HubServer, tree: Path):
    outcome = publish(client, "--tag", "v1.0")
    assert outcome.code == 0, outcome.output
    text = (tree / "registry.yaml").read_text()
    for name in ("one-qm9", "two-qm9"):
        repository = hub.state.repositories["models", f"zoo-org/{name}"]
        assert repository.tags == {"v1.0": repository.head.oid} and f"zoo-org/{name}@{repository.head.oid}" in text
    assert "aliases: {one: one-qm9}" in text
    # Elsewhere: the registry and the cards, no weights, an empty cache.
    for file in tree.glob("cards/*/model.safetensors"):
        file.unlink()
    client.env |= {"ZOO_PATH": str(tree), "HF_TOKEN": ""}
    for seed, name in enumerate(["one", "two-qm9"]):
        assert Path(client.run(RESOLVE, name).ok()[0]).read_bytes() == models.weights(seed)


@row("push", "a release that fails at its second model", "no pin is written; repeated, the first is not pushed again")
def test_a_release_that_fails_halfway_pins_nothing_and_is_repeated(client: Client, hub: HubServer, tree: Path) -> None:
    before = (tree / "registry.yaml").read_text()
    fault = hub.fail("status", "/two-qm9/commit/", status=403)
    assert publish(client).code == 2
    assert (tree / "registry.yaml").read_text() == before
    hub.faults.remove(fault)
    first = hub.state.repositories["models", "zoo-org/one-qm9"].head.oid
    assert publish(client).code == 0
    assert hub.state.repositories["models", "zoo-org/one-qm9"].head.oid == first
    assert first in (tree / "registry.yaml").read_text()


def test_a_release_checks_everything_before_it_pushes_anything(client: Client, hub: HubServer, tree: Path) -> None:
    (tree / "cards" / "two-qm9" / "model.safetensors").write_bytes(OTHER[:-4])
    outcome = publish(client)
    assert outcome.code == 2 and "two-qm9" in outcome.output and hub.log == []


# --- registries of others ---------------------------------------------------------------------------------------------


@pytest.fixture
def group(hub: HubServer) -> str:
    """A group's registry on the Hub, with one model of theirs; the registry's commit."""
    commit = hub.state.put("group/water", models.files(WEIGHTS, name="water-md"))
    registry = f"schema: 1\nmodels:\n  water-md: {{card: cards/water-md/card.yaml, hub: group/water@{commit}}}\n"
    card = models.files(WEIGHTS, name="water-md")["card.yaml"]
    return hub.state.put("group/registry", {"registry.yaml": registry.encode(), "cards/water-md/card.yaml": card})


def test_a_registry_of_the_hub_is_pinned_and_listed_without_network(client: Client, hub: HubServer, group: str) -> None:
    added = client.zoo("registry", "add", "hf:group/registry")
    assert added.code == 0 and "water-md" in added.output, added.output
    assert f"group/registry@{group}" in (client.home / "zoo" / "registry.yaml").read_text()
    hub.log.clear()
    listed = client.run("import zoo\nresult = [zoo.list_models('water*'), zoo.show('water-md').architecture]")
    assert listed.ok() == [["water-md"], "schnet"] and hub.log == [] and listed.modules == []
    assert Path(client.run(RESOLVE, "water-md").ok()[0]).read_bytes() == WEIGHTS
    assert f"hf:group/registry@{group}" in client.zoo("registry", "list").output
    assert client.zoo("registry", "remove", "hf:group/registry").code == 0
    assert client.run("import zoo\nresult = zoo.list_models('water*')").ok() == []
    assert client.zoo("registry", "remove", "hf:group/registry").code == 2


@row(
    "content",
    "a registry of others with a name that is taken",
    "said when it is added; the name is refused until one is removed",
)
def test_names_of_others_do_not_shadow(newest: Client, hub: HubServer, group: str) -> None:
    mine = models.write_folder(newest.home / "mine", OTHER, name="water-md")
    user_registry(newest, f"  water-md: {{card: {mine}/card.yaml}}\n")
    added = newest.zoo("registry", "add", "hf:group/registry")
    assert added.code == 0 and "means different things" in added.output
    outcome = newest.run(RESOLVE, "water-md")
    assert "CardError" in outcome.error and "means different things" in outcome.message


def test_a_registry_on_this_machine(newest: Client, hub: HubServer) -> None:
    models.write_folder(newest.home / "lab" / "cards" / "ice", WEIGHTS, name="ice")
    (newest.home / "lab" / "registry.yaml").write_text("schema: 1\nmodels:\n  ice: {card: cards/ice/card.yaml}\n")
    assert newest.zoo("registry", "add", "lab").code == 0
    assert newest.run("import zoo\nresult = zoo.list_models('ice')").ok() == ["ice"]
    assert newest.zoo("registry", "add", "nowhere").code == 2
    assert hub.log == []


@pytest.mark.parametrize(
    ("registry", "says"),
    [
        ("schema: 1\nmodels:\n  a: {card: ../../etc/card.yaml, hub: group/a@%s}\n" % ("0" * 40), "plain file name"),
        ("schema: 1\nmodels:\n  a: {card: /etc/card.yaml, hub: group/a@%s}\n" % ("0" * 40), "outside"),
        ("schema: 1\nmodels:\n  a: {card: cards/a/card.yaml}\n", "pins no weights"),
        ("schema: 1\nmodels:\n  a: {hub: group/a@main}\n", "no pin"),
        ("schema: 9\nmodels: {}\n", "pip install -U"),
        ("<html>", "registry"),
    ],
)
def test_a_registry_that_is_malformed_is_not_added(newest: Client, hub: HubServer, registry: str, says: str) -> None:
    hub.state.put("group/registry", {"registry.yaml": registry.encode()})
    outcome = newest.zoo("registry", "add", "hf:group/registry")
    assert outcome.code == 2 and says in outcome.output
    assert not (newest.home / "zoo" / "registry.yaml").exists()
