"""From a name to the nearest place that has it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from . import models
from .client import Client
from .rows import row
from .server import HubServer
from .steps import OTHER, RESOLVE, WEIGHTS, user_registry


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
