"""`zoo new`: what it writes, and docs/guides/write-a-plugin.md from its first command to its last."""

from __future__ import annotations

import os
import re

import ase.build
import ase.io
import pytest
from environments import ROOT, call, machine

from zoo.cards.card import Card
from zoo.errors import ZooError
from zoo.scaffold import NewPackage, new_package
from zoo.training.recipe import read_recipe

PAGE = (ROOT / "docs" / "guides" / "write-a-plugin.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S) for line in block.splitlines()]


def test_names_follow_from_one():
    names = NewPackage("my-model")
    assert (names.distribution, names.package, names.class_name) == ("zoo-my-model", "zoo_my_model", "MyModel")
    assert NewPackage("zoo-egg").distribution == "zoo-egg"


@pytest.mark.parametrize("name", ["My-Model", "my_model", "1st", "-x", "x-", "a b", "../x", "class", "painn", ""])
def test_names_that_will_not_do_are_refused(name, tmp_path):
    with pytest.raises(ZooError, match="name"):
        new_package(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path):
    new_package("one", tmp_path)
    with pytest.raises(ZooError, match="already exists"):
        new_package("one", tmp_path)


def test_no_placeholder_is_left_and_the_card_is_valid(tmp_path):
    folder = new_package("my-model", tmp_path)
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {".gitignore", "pyproject.toml", "test.yml", "model.py", "card.yaml"} <= {p.name for p in files}
    for path in files:
        assert not re.search(r"__(name|package|class|distribution)__|\.template", path.read_text() + str(path))
    card = Card.load(folder / "src" / "zoo_my_model" / "cards" / "my-model-qm9")
    assert card.architecture == "my-model"
    read_recipe(card.recipe, targets=list(card.targets))


@pytest.fixture(scope="module")
def walked(environment, hub, tmp_path_factory) -> dict[str, str]:
    """Every command of the page in one shell's folder, and what it said."""
    python, place = environment(), tmp_path_factory.mktemp("afternoon")
    for name, words in {"zoo": "-m zoo", "pytest": "-m pytest"}.items():
        script = python.parent / name
        script.write_text(f'#!/bin/sh\nexec "{python}" {words} "$@"\n')
        script.chmod(0o755)
    ase.io.write(place / "ethanol.xyz", ase.build.molecule("CH3CH2OH"))
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    # The zoo is installed and the builder at hand: nothing is fetched.
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    alice = machine(place / "home", hub, "hf_writer")
    return {line: call("sh", "-c", line, cwd=place, PATH=path, **offline, **alice) for line in COMMANDS}


def test_the_page_can_be_walked(walked):
    said = {line.split()[1] + line.split()[0]: text for line, text in walked.items() if line.startswith("zoo ")}
    assert "my-model-qm9" in walked["zoo list"]
    assert "my-model conforms" in said["checkzoo"]
    assert "1 passed" in walked["python -m pytest zoo-my-model -k conforms"]
    assert "U0" in said["evaluatezoo"]
    assert "U0" in said["predictzoo"]


def test_the_model_comes_to_the_hub_and_back(walked, hub):
    assert {"card.yaml", "model.safetensors"} <= set(hub.state.there("alice/my-model-qm9"))
    said = {walked[f"zoo predict {name} ethanol.xyz"].splitlines()[-1]
            for name in ("runs/first", "my-model-qm9", "hf:alice/my-model-qm9@v1.0")}
    assert len(said) == 1
    assert "registry.yaml: alice/my-model-qm9@" in walked["zoo push my-model-qm9 alice/my-model-qm9 --tag v1.0"]


def test_every_command_the_page_mentions_exists():
    from zoo.cli import COMMANDS as KNOWN

    shown = {a or b for a, b in re.findall(r"`zoo (\w+)|^zoo (\w+)", PAGE, flags=re.M)}
    assert {"new", "check", "train", "push"} <= shown <= set(KNOWN)

