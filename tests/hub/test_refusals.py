"""What a repository may hold: nothing that runs, nothing that is not what its card promises."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable

import pytest

from . import models
from .client import TORCH, Client
from .rows import row
from .server import HubServer
from .steps import FETCH, OTHER, WEIGHTS


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
def test_an_architecture_nobody_offers_says_what_to_install(
    newest: Client, hub: HubServer, fork_servers: Callable
) -> None:
    newest.server = fork_servers(None, TORCH)
    requires = {"plugin": "zoo-martian"}
    hub.state.put("zoo-org/martian", models.files(WEIGHTS, architecture="martian", requires=requires))
    outcome = newest.run("import zoo\nzoo.load('hf:zoo-org/martian')")
    assert "ZooError" in outcome.error and "pip install" in outcome.message and "zoo-martian" in outcome.message
