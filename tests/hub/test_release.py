"""The zoo's own models through the Hub and back, and an installation that has to fetch its weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.cards.card import Card
from zoo.hub.repository import render_readme

from .client import TORCH, Client
from .server import HubServer

ROOT = Path(__file__).resolve().parents[2]
TRAINED = sorted(path.parent.name for path in ROOT.glob("cards/*/model.safetensors"))
COMPARE = """
import ase.build, torch, zoo
here, there = zoo.load("tree/cards/" + args[0]), zoo.load(args[1])
a, b = here.state_dict(), there.state_dict()
domain = here.card.domain
atoms = ([ase.build.bulk(element, "fcc", a=4.5) for element in domain.elements[:3]] if domain.pbc else
         [ase.build.molecule(name) for name in ("CH3CH2OH", "C6H6", "CH4")])
result = {"weights": list(a) == list(b) and all(torch.equal(a[k], b[k]) for k in a),
          "predictions": here.predict(atoms) == there.predict(atoms), "card": here.card == there.card}
"""
EVALUATE = """
import zoo
result = [[m["target"], m["metric"], m["value"], m["n"]] for m in zoo.evaluate(args[0], **args[1]).metrics]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with the trained models of this one."""
    tree = tmp_path / "client" / "tree"
    lines = ["schema: 1", "models:"]
    for name in TRAINED:
        shutil.copytree(ROOT / "cards" / name, tree / "cards" / name)
        lines.append(f"  {name}: {{card: cards/{name}/card.yaml, hub: null}}")
    (tree / "registry.yaml").write_text("\n".join([*lines, ""]))
    return tree


@pytest.fixture
def torch_client(generation: Path | None, fork_servers: Callable, hub: HubServer, tmp_path: Path, tree: Path) -> Client:
    client = Client(fork_servers(generation, TORCH), tmp_path / "client", hub.endpoint)
    client.env["HF_TOKEN"] = "hf_writer"
    return client


def publish(client: Client, hub: HubServer) -> dict[str, str]:
    """Push all models; their pins by name."""
    done = client.zoo("publish", "--org", "zoo-org", "--registry", "tree/registry.yaml", "--tag", "v1.0", timeout=120)
    assert done.code == 0, done.output
    repositories = hub.state.repositories
    return {name: f"zoo-org/{name}@{repositories['models', f'zoo-org/{name}'].head.oid}" for name in TRAINED}


@pytest.mark.slow
def test_the_page_of_every_model_is_a_card_of_the_client():
    from huggingface_hub import ModelCard

    for name in TRAINED:
        card = Card.load(ROOT / "cards" / name)
        data = ModelCard(render_readme(card, [], f"zoo-org/{name}")).data
        assert (data.library_name, data.model_name, data.license) == ("geometric-zoo", name, "mit")
        assert {result.dataset_split for result in data.eval_results} >= {"test"} and data.datasets is None


PRETRAINED = """
import ase.build, torch, zoo
atoms = ase.build.molecule("CH3CH2OH")
here = zoo.load("tree/cards/schnet-ethanol")
with torch.no_grad():
    next(here.parameters()).mul_(1.01)
address = here.push_to_hub("zoo-org/changed", private=True, tag="v1")
there = zoo.Model.from_pretrained("zoo-org/changed", revision="v1", dtype="float64")
again = zoo.Model.from_pretrained(address)
result = [address, there.predict(atoms)["energy"] - here.double().predict(atoms)["energy"], str(there.dtype),
          again.card.name]
"""


@pytest.mark.slow
def test_a_model_in_memory_goes_to_the_hub_and_comes_back(fork_servers: Callable, hub: HubServer, tmp_path: Path, tree):
    client = Client(fork_servers(None, TORCH), tmp_path / "client", hub.endpoint, {"HF_TOKEN": "hf_writer"})
    address, difference, dtype, name = client.run(PRETRAINED, timeout=120).ok()
    repository = hub.state.repositories["models", "zoo-org/changed"]
    assert address == f"hf:zoo-org/changed@{repository.head.oid}" and repository.private
    assert abs(difference) < 1e-6 and dtype == "torch.float64" and name == "schnet-ethanol"
    assert not (tmp_path / "client" / "zoo" / "registry.yaml").exists()


@pytest.mark.slow
@pytest.mark.skipif(not TRAINED, reason="no trained model is bundled")
def test_every_model_comes_back_bit_for_bit(torch_client: Client, hub: HubServer) -> None:
    pins = publish(torch_client, hub)
    torch_client.env["HF_TOKEN"] = ""
    for name, pin in pins.items():
        same = torch_client.run(COMPARE, name, f"hf:{pin}", timeout=120).ok()
        assert same == {"weights": True, "predictions": True, "card": True}, name
    assert {one.path.split("/")[-1].split("?")[0] for one in hub.asked("PUT", host="cdn")} == {
        blob.sha256
        for name in TRAINED
        for path, blob in hub.state.repositories["models", f"zoo-org/{name}"].head.files.items()
        if blob.large
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TRAINED if name.endswith("-qm9")])
def test_a_pulled_model_measures_the_same(torch_client: Client, hub: HubServer, name: str) -> None:
    """To what arithmetic leaves open; that the weights are the same to the bit is the test above."""
    pin = publish(torch_client, hub)[name]
    options = {"data": str(ROOT / "zoo/data/samples/qm9"), "split": "test"}
    here = torch_client.run(EVALUATE, f"tree/cards/{name}", options, timeout=300).ok()
    there = torch_client.run(EVALUATE, f"hf:{pin}", options, timeout=300).ok()
    assert here and [row[:2] + row[3:] for row in there] == [row[:2] + row[3:] for row in here]
    assert [row[2] for row in there] == pytest.approx([row[2] for row in here], rel=2e-3)


@pytest.mark.slow
@pytest.mark.skipif(not TRAINED, reason="no trained model is bundled")
@pytest.mark.skipif(not (shutil.which("make") and shutil.which("git")), reason="needs make and git")
def test_make_publish_pushes_tags_and_pins_in_one_commit(newest: Client, hub: HubServer, tree: Path) -> None:
    newest.env["HF_TOKEN"] = "hf_writer"
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "setup.py"):
        shutil.copy(ROOT / name, tree / name)
    environment = {**newest.environment(), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
                   "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c"}  # fmt: skip

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)

    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        assert run("git", *command).returncode == 0
    (tree / "ready").mkdir()
    (tree / "ready" / ".installed").touch()
    make = ["make", "publish", "TAG=v1.0", "VENV=ready", f"BIN={Path(sys.executable).parent}"]
    refused = run(*make)
    assert refused.returncode != 0 and "ORG=" in refused.stderr
    for _ in range(2):  # the second time changes nothing
        done = run(*make, "ORG=zoo-org")
        assert done.returncode == 0, done.stderr
    assert run("git", "log", "--format=%s").stdout.splitlines() == ["Pin the models at zoo-org v1.0", "start"]
    assert run("git", "show", "--name-only", "--format=").stdout.split() == ["registry.yaml"]
    for name in TRAINED:
        repository = hub.state.repositories["models", f"zoo-org/{name}"]
        assert repository.tags == {"v1.0": repository.head.oid}
        assert f"zoo-org/{name}@{repository.head.oid}" in (tree / "registry.yaml").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not TRAINED, reason="no trained model is bundled")
def test_an_installation_without_weights_fetches_them(torch_client: Client, hub: HubServer, tmp_path: Path) -> None:
    """The release as a user gets it: the wheel's registry with its pins, no weights, an empty cache."""
    pins = publish(torch_client, hub)
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", "__pycache__", ".pytest_cache", "*.safetensors", "build", "*.egg-info")
    shutil.copytree(ROOT, source, ignore=ignore)
    shutil.copy(torch_client.home / "tree" / "registry.yaml", source / "registry.yaml")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target",
               str(tmp_path / "site"), str(source)]  # fmt: skip
    subprocess.run(install, check=True, capture_output=True)
    assert list((tmp_path / "site").rglob("model.safetensors")) == []
    name = "nequip-qm9" if "nequip-qm9" in pins else next(iter(pins))
    environment = {**torch_client.environment(), "PYTHONPATH": str(tmp_path / "site"), "HF_TOKEN": ""}
    code = f"import ase.build, zoo\nm = zoo.load('{name}')\nprint(zoo.__file__, m.predict(ase.build.molecule('H2O')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "site") in done.stdout and "U0" in done.stdout
    assert len(hub.asked("GET", host="cdn")) == 1, "the weights came from the Hub"
