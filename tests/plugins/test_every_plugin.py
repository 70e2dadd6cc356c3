"""What every family has to do beyond what the conformance kit measures (see ``tests/conformance/test_page.py``)."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.loading.models import create, load, save
from zoo.registry import host

ELEMENTS = ["H", "C", "N", "O", "F", "Si"]
FAMILIES = ["dimenet", "gemnet", "nequip", "painn", "schnet"]


def test_all_five_come_through_the_entry_points():
    assert set(FAMILIES) <= set(host.architectures())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_saved_twice_has_the_same_hash_and_the_same_card(family, tmp_path):
    torch.manual_seed(1)
    model = create(family, preset="small", elements=ELEMENTS, pbc=False).eval()
    card = save(model, tmp_path / "saved", name=f"{family}-test")
    again = load(tmp_path / "saved", verify="golden")
    assert again.card.weights.sha256 == card.weights.sha256
    for (name, a), (other, b) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b)
    second = save(again, tmp_path / "again")
    assert second.weights.sha256 == card.weights.sha256
    assert second.to_dict() == card.to_dict()


def test_the_public_names_are_functions():
    assert zoo.load is load
    assert zoo.create is create
