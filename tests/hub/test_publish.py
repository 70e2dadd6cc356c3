"""Releases, and registries of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import models
from .client import Client, Outcome
from .rows import row
from .server import HubServer
from .steps import OTHER, RESOLVE, WEIGHTS, user_registry


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
