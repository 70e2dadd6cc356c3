"""Pushing: one commit that is whole, nobody else's work overwritten, nothing that should stay at home."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from zoo.cards.card import Card

from . import models
from .client import Client
from .rows import row
from .server import HubServer
from .steps import OTHER, RESOLVE, WEIGHTS, wait_for

FILES = {"README.md", "card.yaml", "config.json", "model.safetensors"}


@row("push", "a new model", "one commit, a tag, a pin; loads elsewhere by the pin alone")
def test_a_card_folder_becomes_a_repository_in_one_commit(client: Client, hub: HubServer, folder: Path) -> None:
    outcome = client.push("--tag", "v1.0")
    assert outcome.code == 0, outcome.output
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert len(repository.history("main")) == 2 and not repository.private
    assert set(hub.state.there()) == FILES and hub.state.there()["model.safetensors"] == WEIGHTS
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
    client.push("--tag", "v1.0")
    first = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    registry = (client.home / "zoo" / "registry.yaml").read_text()
    hub.log.clear()
    again = client.push("--tag", "v1.0")
    assert again.code == 0 and "has all of it" in again.output
    assert hub.state.repositories["models", "zoo-org/tiny"].head.oid == first
    assert (client.home / "zoo" / "registry.yaml").read_text() == registry
    assert hub.asked("POST", "/commit/") == [] and hub.asked("PUT") == []


def test_a_new_version_is_a_new_commit_and_the_old_pin_is_shown(newest: Client, hub: HubServer, newest_folder: Path):
    newest.push()
    first = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    models.write_folder(newest_folder, OTHER)
    outcome = newest.push()
    second = hub.state.repositories["models", "zoo-org/tiny"].head.oid
    assert second != first and f"(was zoo-org/tiny@{first})" in outcome.output and second in outcome.output
    assert hub.state.there()["model.safetensors"] == OTHER


def test_the_page_is_one_the_hub_understands(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    newest.push()
    read = (
        "from huggingface_hub import ModelCard\ncard = ModelCard(args[0])\nd = card.data\n"
        "e = d.eval_results[0]\nresult = [d.library_name, d.pipeline_tag, d.license, d.tags, d.datasets, d.model_name,"
        " e.dataset_name, e.dataset_split, e.metric_type, e.metric_value, e.metric_name]"
    )
    read = newest.run(read, hub.state.there()["README.md"].decode()).ok()
    assert read[:3] == ["geometric-zoo", "graph-ml", "mit"] and "schnet" in read[3]
    assert read[4:] == [None, "tiny-qm9", "qm9", "test", "mae", 0.021, "U0 MAE (eV)"]
    config = json.loads(hub.state.there()["config.json"])
    assert config["architecture"] == "schnet" and config["units"] == {"U0": "eV"}
    assert config["weights"]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert "zoo.load(" in hub.state.there()["README.md"].decode()


def test_errors_on_a_data_set_of_the_hub_are_results_that_its_client_reads(newest: Client, hub: HubServer):
    newest.env["HF_TOKEN"] = "hf_writer"
    data = f"hf:group/water@{'b' * 40}"
    wet = models.write_folder(newest.home / "wet", name="wet")
    Card.load(wet).replace(data={"dataset": data}, recipe={"from": "hf:group/dry@v1"}).save(wet)
    assert newest.zoo("push", "wet", "zoo-org/wet").code == 0
    there = hub.state.there("zoo-org/wet")
    read = (
        "import yaml\nfrom huggingface_hub import ModelCard, parse_eval_result_entries\nd = ModelCard(args[0]).data\n"
        "e, = parse_eval_result_entries(yaml.safe_load(args[1]))\n"
        "result = [d.base_model, d.base_model_relation, d.datasets, e.dataset_id, e.dataset_revision, e.task_id]"
    )
    found = newest.run(read, there["README.md"].decode(), there[".eval_results/zoo.yaml"].decode()).ok()
    assert found == ["group/dry", "finetune", ["group/water"], "group/water", "b" * 40, "U0_mae"]
    assert newest.zoo("pull", "hf:zoo-org/wet", "--to", "again").code == 0
    assert not (newest.home / "again" / "wet" / ".eval_results").exists()


@row("push", "somebody wrote their own README on the Hub", "left as it is, and said")
def test_a_handwritten_page_is_left_alone(client: Client, hub: HubServer, folder: Path) -> None:
    client.push()
    edited = hub.state.there()["README.md"] + b"\nTry it on sugar!\n"
    hub.state.put("zoo-org/tiny", {"README.md": edited})
    models.write_folder(folder, OTHER)
    outcome = client.push()
    assert outcome.code == 0 and "written by hand" in outcome.output
    assert hub.state.there()["README.md"] == edited and hub.state.there()["model.safetensors"] == OTHER


def test_a_page_of_ours_follows_the_card(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    newest.push()
    models.write_folder(newest_folder, WEIGHTS, summary="Now with a better summary.")
    newest.push()
    assert b"Now with a better summary." in hub.state.there()["README.md"]


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
    outcome = newest.push()
    assert outcome.code == 2 and says in outcome.output and "card.yaml:" in outcome.output
    assert hub.log == []


@row("push", "pickles, code, logs, links beside the card", "stay here, and are named")
def test_what_is_no_part_of_a_model_stays_here(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    for name in ("checkpoint.pt", "model.pkl", "train.py", "log.txt", ".env"):
        (newest_folder / name).write_bytes(b"x")
    (newest_folder / "parity.png").write_bytes(b"\x89PNG\0")
    (newest_folder / "link.png").symlink_to("/etc/hostname")
    (newest_folder / "runs").mkdir()
    outcome = newest.push()
    assert outcome.code == 0 and "checkpoint.pt: a pickle" in outcome.output and "train.py: code" in outcome.output
    assert set(hub.state.there()) == FILES | {"parity.png"}
    assert b"![parity](parity.png)" in hub.state.there()["README.md"]


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
    outcome = newest.push()
    assert outcome.code == 2 and "Traceback" not in outcome.output and hub.log == []


def test_dry_run_sends_nothing(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    outcome = newest.push("--dry-run")
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
    outcome = client.push()
    assert outcome.code == 2 and says in outcome.output and "Traceback" not in outcome.output
    assert ("models", "zoo-org/tiny") not in hub.state.repositories
    assert not token or token not in outcome.output
    assert not (client.home / "zoo" / "registry.yaml").exists()
    hub.state.create("models", "zoo-org/tiny")
    outcome = client.push()
    assert outcome.code == 2 and "Fix: " in outcome.output
    assert hub.state.there() == {}


@row("push", "`--private`, and the repository is public", "refused; nothing is sent")
def test_private_means_private(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    assert newest.push("--private").code == 0
    assert hub.state.repositories["models", "zoo-org/tiny"].private
    hub.state.repositories["models", "zoo-org/tiny"].private = False
    models.write_folder(newest_folder, OTHER)
    outcome = newest.push("--private")
    assert outcome.code == 2 and "public already" in outcome.output
    assert hub.state.there()["model.safetensors"] == WEIGHTS


# --- others at work ---------------------------------------------------------------------------------------------------


@row("push", "others changed the model since the recorded pin", "reported with both commits; `--replace` overwrites")
def test_what_others_changed_since_is_not_overwritten(client: Client, hub: HubServer, folder: Path) -> None:
    client.push()
    theirs = models.files(OTHER)
    moved = hub.state.put("zoo-org/tiny", theirs)
    models.write_folder(folder, models.weights(seed=2))
    outcome = client.push()
    assert outcome.code == 2 and moved in outcome.output and "--replace" in outcome.output
    assert hub.state.there()["model.safetensors"] == OTHER
    assert client.push("--replace").code == 0
    assert hub.state.there()["model.safetensors"] == models.weights(seed=2)


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
    assert hub.state.there()["card.yaml"] == b"theirs" and "model.safetensors" not in hub.state.there()


@row("push", "the tag exists on another commit", "an error before anything is committed; tags do not move")
def test_a_tag_does_not_move(newest: Client, hub: HubServer, newest_folder: Path) -> None:
    newest.push("--tag", "v1.0")
    first = hub.state.repositories["models", "zoo-org/tiny"].tags["v1.0"]
    models.write_folder(newest_folder, OTHER)
    outcome = newest.push("--tag", "v1.0")
    assert outcome.code == 2 and first in outcome.output and "another tag" in outcome.output
    repository = hub.state.repositories["models", "zoo-org/tiny"]
    assert repository.tags["v1.0"] == first == repository.head.oid, "nothing was committed"
    hub.state.put("zoo-org/tiny", {"notes.txt": b"1"})
    models.write_folder(newest_folder, WEIGHTS)
    outcome = newest.push("--tag", "v1.0")  # all files are there already, at another commit than the tag's
    assert outcome.code == 2 and first in outcome.output and repository.tags["v1.0"] == first


@row("push", "a name that no tag can have", "refused before anything is sent")
@pytest.mark.parametrize("tag", ["v 1", "../x", "main", "a" * 40, "", "-v", "v1.lock", "v\x01"])
def test_an_impossible_tag(newest: Client, hub: HubServer, newest_folder: Path, tag: str) -> None:
    outcome = newest.push(f"--tag={tag}")
    assert outcome.code == 2 and "Fix: use one such as v1.0" in outcome.output and hub.log == []


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
