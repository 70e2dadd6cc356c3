"""From a folder to a model, and what happens when the folder is not what it says."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
import yaml

from zoo.errors import CardError, PluginError, UnknownNameError, WeightsError, ZooError
from zoo.loading.models import create, load, save

QM9 = ["H", "C", "N", "O", "F"]


@pytest.fixture
def folder(tmp_path) -> Path:
    torch.manual_seed(0)
    model = create("schnet", channels=8, num_filters=8, num_layers=1, num_radial=6, elements=QM9, pbc=False,
                   targets={"U0": {"readout": "energy", "unit": "eV", "reference": "fitted"},
                            "mu": {"readout": "dipole", "unit": "D"}})
    model.readouts["U0"].set_constants(coefficients=torch.tensor([-13.0, -1030, -1480, -2040, -2710]), scale=0.7)
    save(model, tmp_path / "tiny", name="tiny-qm9")
    return tmp_path / "tiny"


def edit(folder: Path, change) -> None:
    data = yaml.safe_load((folder / "card.yaml").read_text())
    change(data)
    (folder / "card.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def rewrite_weights(folder: Path, change) -> None:
    """Change the tensors and keep the card honest about size and hash."""
    from safetensors.torch import load_file, save_file

    from zoo.files.hashing import sha256_of

    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path)
    edit(folder, lambda card: card["weights"].update(sha256=sha256_of(path), bytes=path.stat().st_size))


def test_a_folder_loads_and_repeats_its_reference_outputs(folder):
    model = load(folder, verify="golden")
    assert not model.training
    assert model.card.name == "tiny-qm9"
    assert model.units == {"U0": "eV", "mu": "D"}
    assert model.dtype is torch.float32
    assert load(folder, dtype="float64").dtype is torch.float64


def test_float64_constants_are_exact_however_the_model_was_saved(folder):
    saved = load(folder, dtype=torch.float64)
    built = create("schnet", dtype="float64", channels=8, num_filters=8, num_layers=1, num_radial=6)
    for (name, a), (_, b) in zip(saved.backbone.named_buffers(), built.backbone.named_buffers()):
        assert torch.equal(a, b), name


def test_loading_draws_no_random_number(folder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load(folder)
    assert torch.equal(before, torch.get_rng_state())


def test_creating_follows_the_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in create("schnet", channels=8, num_filters=8).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_an_altered_byte_is_caught_with_both_hashes(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"):
        load(folder)


def test_a_truncated_file_is_caught(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(WeightsError, match=r"expected \d+ bytes, found"):
        load(folder)


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s.pop("backbone.embedding.weight"), "missing backbone.embedding.weight"),
    (lambda s: s.update({"surplus": torch.zeros(2)}), r"unexpected surplus \(2,\)"),
    (lambda s: s.update({"backbone.embedding.weight": torch.zeros(3, 8)}),
     r"expected shape \(100, 8\), found \(3, 8\)"),
])
def test_tensors_that_do_not_fit_are_listed(folder, change, message):
    rewrite_weights(folder, change)
    with pytest.raises(WeightsError, match=message):
        load(folder)


@pytest.mark.parametrize("header", [
    {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 800]}},
    {"x": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 8]}},
    {"x": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
    {"x": {"dtype": "OBJECT", "shape": [2], "data_offsets": [0, 8]}},
    {"x": {"shape": [2], "data_offsets": [0, 8]}},
])
def test_a_lying_header_is_refused_before_memory_is_taken(folder, header):
    from zoo.cards.weights import read_header

    text = json.dumps(header).encode()
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 8)
    with pytest.raises(WeightsError, match="header is malformed"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"abc", b"<html>please log in</html>" * 40, b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(folder, content):
    from zoo.cards.weights import read_header

    path = folder / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a complete safetensors file"):
        read_header(path)


def test_a_reference_edited_in_the_card_is_noticed(folder):
    edit(folder, lambda card: card["references"]["U0"]["values"].update(C=-1029.0))
    with pytest.raises(WeightsError, match="undo the change"):
        load(folder)


def test_changed_physics_fails_the_check_of_reference_outputs(folder):
    edit(folder, lambda card: card["golden"][1]["outputs"].update(U0=card["golden"][1]["outputs"]["U0"] + 1e-3))
    assert load(folder) is not None
    with pytest.raises(WeightsError, match="reference output 'U0' in float64"):
        load(folder, verify="golden")


def test_an_architecture_nobody_offers_says_what_to_install(folder):
    edit(folder, lambda card: card.update(architecture="egnn", requires={"plugin": "zoo-egnn"}))
    with pytest.raises(ZooError, match="pip install zoo-egnn"):
        load(folder)


def test_a_newer_format_asks_for_an_upgrade(folder):
    edit(folder, lambda card: card.update(format=7))
    with pytest.raises(WeightsError, match="pip install -U"):
        load(folder)


def test_names_that_do_not_exist():
    with pytest.raises(UnknownNameError, match="painn-qm9"):
        load("painn-qm")
    with pytest.raises(UnknownNameError, match="hf:org/repo"):
        load("org/repo")
    with pytest.raises(UnknownNameError, match="did you mean 'painn'"):
        create("pain")
    with pytest.raises(UnknownNameError, match="paper"):
        create("painn", preset="papers")


def test_what_create_cannot_use_is_named():
    with pytest.raises(ZooError, match="cutof"):
        create("schnet", cutof=5.0)
    with pytest.raises(CardError, match="unit"):
        create("schnet", targets={"U0": {"readout": "energy"}})
    with pytest.raises(UnknownNameError, match="energy"):
        create("schnet", targets={"U0": {"readout": "energi", "unit": "eV"}})
    with pytest.raises(PluginError, match="1o"):
        create("schnet", targets={"v": {"readout": "vector", "unit": "1"}})


def test_devices_and_dtypes_that_are_not_there(folder):
    with pytest.raises(ZooError, match="float32 or float64"):
        load(folder, dtype="float16")
    with pytest.raises(ZooError, match="mps"):
        load(folder, device="mps")
    if not torch.cuda.is_available():
        with pytest.raises(ZooError, match="no CUDA device"):
            load(folder, device="cuda")


def test_weights_that_are_not_finite_are_not_saved(folder, tmp_path):
    model = load(folder)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(WeightsError, match="not finite"):
        save(model, tmp_path / "broken")
    assert list((tmp_path / "broken").iterdir()) == []
