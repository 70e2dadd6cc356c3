"""Data sets on the Hub: pushed with a data card, pulled by commit, verified, trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .client import TORCH, Client
from .rows import row
from .server import HubServer

STORE = """
import torch
from zoo.data.store import Store
torch.manual_seed(0)
n = 12
sizes = torch.full((n,), 3)
store = Store(z=torch.tensor([8, 1, 1], dtype=torch.uint8).repeat(n), pos=torch.randn(3 * n, 3),
              ptr=torch.arange(n + 1) * 3, ids=torch.arange(n), labels={"energy": torch.randn(n).double()},
              units={"energy": "eV"}, meta={"name": "waters", "theory": "a toy", **args[0]})
store.save("waters")
"""
META = {"license": "cc-by-4.0"}
PULL = "from zoo.hub.datasets import fetch_data\nresult = str(fetch_data(args[0]))"


@pytest.fixture
def torch_client(fork_servers, hub: HubServer, tmp_path: Path) -> Client:
    client = Client(fork_servers(None, TORCH), tmp_path / "client", hub.endpoint)
    client.env["HF_TOKEN"] = "hf_writer"
    client.run(STORE, META, timeout=120).ok()
    return client


def push(client: Client, *options: str):
    return client.zoo("data", "push", "waters", "zoo-org/waters", *options, timeout=120)


def test_a_store_becomes_a_data_set_and_comes_back(torch_client: Client, hub: HubServer) -> None:
    pushed = push(torch_client, "--tag", "v1")
    assert pushed.code == 0, pushed.output
    repository = hub.state.repositories["datasets", "zoo-org/waters"]
    head, address = repository.head, f"hf:zoo-org/waters@{repository.head.oid}"
    assert f"dataset: {address}" in pushed.output and repository.tags == {"v1": head.oid}
    assert {"store.json", "store.safetensors", "README.md"} <= set(head.files)
    header = json.loads(head.files["store.json"].data)
    assert header["labels"]["energy"]["unit"] == "eV" and header["meta"]["license"] == "cc-by-4.0"
    assert b"license: cc-by-4.0" in head.files["README.md"].data
    assert "has all of it" in push(torch_client).output
    read = (
        "from zoo.data.open import open_dataset\nfrom zoo.data.store import Store\nimport torch\n"
        "a, b = open_dataset(args[0]), Store.load('waters')\n"
        "result = [torch.equal(a.pos, b.pos), torch.equal(a.labels['energy'], b.labels['energy']), len(a)]"
    )
    torch_client.env["HF_TOKEN"] = ""
    assert torch_client.run(read, address, timeout=120).ok() == [True, True, 12]
    hub.log.clear()
    assert torch_client.run(read, address, timeout=120).ok() == [True, True, 12]
    assert hub.log == []


def test_data_need_a_licence(torch_client: Client, hub: HubServer) -> None:
    torch_client.run("import shutil\nshutil.rmtree('waters')\n" + STORE, {}, timeout=120).ok()
    refused = push(torch_client)
    assert refused.code == 2 and "--license" in refused.output and hub.log == []
    assert push(torch_client, "--license", "cc0-1.0").code == 0
    header = json.loads(hub.state.repositories["datasets", "zoo-org/waters"].head.files["store.json"].data)
    assert header["meta"]["license"] == "cc0-1.0"


@row("content", "altered columns of a data set", "neither pushed nor taken")
def test_altered_columns_are_neither_pushed_nor_taken(torch_client: Client, hub: HubServer) -> None:
    push(torch_client)
    hub.fail("flip", "^/files/", times=1)
    folder = Path(torch_client.run(PULL, "hf:zoo-org/waters").ok())
    columns = (torch_client.home / "waters" / "store.safetensors").read_bytes()
    assert (folder / "store.safetensors").read_bytes() == columns
    (torch_client.home / "waters" / "store.safetensors").write_bytes(columns[:-8] + b"\0" * 8)
    refused = push(torch_client)
    assert refused.code == 2 and "make the store again" in refused.output


@pytest.mark.parametrize("file", ["../../x.safetensors", "store.pt", "/etc/passwd", "sub/../store.safetensors"])
def test_a_header_cannot_point_elsewhere(newest: Client, hub: HubServer, file: str) -> None:
    header = {"format": 1, "tensors": {"file": file, "sha256": "0" * 64, "bytes": 1}, "labels": {}}
    hub.state.put("zoo-org/evil", {"store.json": json.dumps(header).encode(), file: b"x"}, kind="datasets")
    outcome = newest.run(PULL, "hf:zoo-org/evil")
    assert outcome.error is not None and "ZooError" in outcome.error
    assert hub.asked(host="cdn") == [] and hub.asked("GET", "passwd") == []


def test_a_model_is_no_data_set(newest: Client, hub: HubServer) -> None:
    hub.state.put("zoo-org/tiny", {"card.yaml": b"a"})
    outcome = newest.run(PULL, "hf:zoo-org/tiny")
    assert "AccessError" in outcome.error and "no such repository" in outcome.message


def test_a_card_that_names_a_data_set_of_the_hub_finds_it_and_its_split(torch_client: Client, hub: HubServer) -> None:
    divide = (
        "import torch\nfrom pathlib import Path\nfrom zoo.data.identity import write_split\n"
        "from zoo.data.store import Store\n"
        "rows = {'train': torch.arange(7), 'val': torch.arange(7, 9), 'test': torch.arange(9, 12)}\n"
        "write_split(Path('waters'), Store.load('waters'), rows)"
    )
    torch_client.run(divide, timeout=120).ok()
    push(torch_client)
    find = (
        "from zoo.cards.card import Card\nfrom zoo.data.of_card import open_for_card\n"
        "found = open_for_card(Card.from_dict(args[0]), cutoff=3.0, labels=['energy'])\n"
        "result = [found.own, found.name, {name: part.tolist() for name, part in found.rows.items()}]"
    )
    card = {
        "schema": 1, "name": "water-toy", "architecture": "schnet",
        "targets": {"energy": {"readout": "energy", "unit": "eV"}},
        "data": {"dataset": f"hf:zoo-org/waters@{hub.state.repositories['datasets', 'zoo-org/waters'].head.oid}"},
    }  # fmt: skip
    own, name, rows = torch_client.run(find, card, timeout=120).ok()
    assert own and name == card["data"]["dataset"]
    assert rows == {"train": list(range(7)), "val": [7, 8], "test": [9, 10, 11]}


@pytest.mark.slow
def test_a_card_that_names_a_data_set_of_the_hub_trains_on_it(torch_client: Client, hub: HubServer) -> None:
    push(torch_client)
    pin = hub.state.repositories["datasets", "zoo-org/waters"].head.oid
    card = {
        "schema": 1, "name": "water-toy", "architecture": "schnet",
        "config": {"cutoff": 3.0, "channels": 8, "num_filters": 8, "num_layers": 1, "num_radial": 8},
        "targets": {"energy": {"readout": "energy", "unit": "eV"}},
        "domain": {"elements": ["H", "O"]},
        "data": {"dataset": f"hf:zoo-org/waters@{pin}", "split": {"val": 2, "test": 2}},
    }  # fmt: skip
    snippet = (
        "import zoo, json\nfrom zoo.cards.card import Card\nCard.from_dict(args[0]).save('water.yaml')\n"
        "zoo.train('water.yaml', out='run', fast_dev_run=True, quiet=True)\nresult = True"
    )
    assert torch_client.run(snippet, card, timeout=300).ok()
