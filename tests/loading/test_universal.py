"""Cards of universal potentials: what they say before anything is fetched, and that the published files give them.

The weights are in no repository of ours. Those of SevenNet come from their wheel; those of Nequix are read from the
folder that ``ZOO_TEST_NEQUIX`` names, where there is one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import ase.build
import numpy as np
import pytest

import zoo
from zoo.cards.card import Card
from zoo.errors import WeightsError
from zoo.registry import names as registry

CARDS = Path(__file__).resolve().parents[2] / "cards"
NAMES = sorted(p.parent.name for p in CARDS.glob("*/card.yaml") if Card.load(p).source is not None)
SEVENNET = [name for name in NAMES if name.startswith("sevennet")]
NEQUIX = [name for name in NAMES if name.startswith("nequix")]
FILES = os.environ.get("ZOO_TEST_NEQUIX")


def test_all_ten_are_there_and_one_is_the_default_for_crystals():
    assert len(SEVENNET) == len(NEQUIX) == 5 and set(NAMES) <= set(registry.list_models())
    assert registry.entry("universal").name == "nequix-oam-1"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_its_user_must_know_before_anything_is_fetched(name):
    card = registry.show(name)
    assert card.weights is None and card.golden and card.domain.pbc and len(card.domain.elements) == 89
    assert {"Po", "Rn"}.isdisjoint(card.domain.elements)
    assert card.source.code_license and card.source.weights_license and card.license and card.citation
    assert "its zero is that of" in card.targets["energy"].description
    assert "none is calibrated" in card.uncertainty and "No charges" in card.limits and "dispersion" in card.limits
    rotations_only = card.config.get("group") == "SO3"
    assert (card.signature["parity"] == "none") == rotations_only == ("mirror images" in card.limits)
    assert (card.signature.get("smooth") == 1) == (card.config.get("cutoff_function") == "xplor")
    assert ("first derivative only" in card.limits) == (card.signature.get("smooth") == 1)


def test_a_pinned_commit_and_a_range_of_versions_say_which_file_it_is():
    for name in NEQUIX:
        url = registry.show(name).source.url
        assert re.fullmatch(rf"https://github.com/.*/raw/[0-9a-f]{{40}}/models/{name}.nqx", url)
    assert {registry.show(name).source.package for name in SEVENNET} == {"sevenn>=0.13,<0.14"}
    modalities = {registry.show(name).source.arguments.get("modality") for name in SEVENNET}
    assert modalities == {None, "PBE", "R2SCAN"}


@pytest.mark.parametrize("name", ["universal", "sevennet-l3i5"])
def test_without_their_weights_the_error_has_the_command(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    command = "zoo pull nequix-oam-1" if name == "universal" else "pip install --no-deps 'sevenn>=0.13,<0.14'"
    with pytest.raises(WeightsError, match=rf"(?s)not on this machine.*\nFix: {command}, or zoo pull .* --file PATH"):
        zoo.load(name)


@pytest.fixture(scope="module")
def sevenn(tmp_path_factory) -> Path:
    """A folder with the wheel of sevenn and nothing of what it needs."""
    site = tmp_path_factory.mktemp("sevenn")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), "sevenn>=0.13,<0.14"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = f"sevenn cannot be installed: {done.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return site


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVENNET)
def test_the_wheel_of_sevenn_gives_what_the_card_promises(name, sevenn, monkeypatch):
    monkeypatch.syspath_prepend(str(sevenn))
    model = zoo.load(name, verify="golden")
    assert "sevenn" not in sys.modules
    close_to_experiment(model)


@pytest.mark.slow
@pytest.mark.skipif(FILES is None, reason="ZOO_TEST_NEQUIX names no folder with .nqx files")
@pytest.mark.parametrize("name", NEQUIX)
def test_a_published_file_gives_what_the_card_promises(name):
    zoo.pull(name, file=Path(FILES or "") / f"{name}.nqx")
    close_to_experiment(zoo.load(name, verify="golden"))


def close_to_experiment(model) -> None:
    """The lattice constant of NaCl, 5.64 Å, within what PBE and r2SCAN are off by."""
    frames = [ase.build.bulk("NaCl", "rocksalt", a=a) for a in np.linspace(5.4, 6.0, 13)]
    energies = [found["energy"] for found in model.predict(frames)]
    assert 5.5 < 5.4 + 0.05 * int(np.argmin(energies)) < 5.8
