"""What an importer refuses, and what it does with standardisation, references and checkpoints."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from ase.build import molecule
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo
from zoo.cli import main
from zoo.errors import WeightsError, ZooError
from zoo.foreign import IMPORTERS
from zoo.foreign.state import ForeignState, read_state
from zoo.loading import import_model
from zoo.loading.importing import import_state

REFERENCES = Path(__file__).resolve().parents[1] / "reference"
ELEMENTS = ["H", "C", "N", "O", "Si"]
NEQUIP = {"num_features": [6, 5, 4], "parity": True, "avg_num_neighbors": 7.5}


def state_of(name):
    tensors = load_file(REFERENCES / f"{name}.safetensors")
    return {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}


def energy(model, name="CH3CH2OH"):
    return model.double().predict(molecule(name))["energy"]


def test_a_card_folder_comes_out_that_loads_and_predicts_the_same(tmp_path):
    file = tmp_path / "theirs.safetensors"
    save_file(state_of("schnet"), file)
    main_quietly("import", "pyg-schnet", str(file), "--to", str(tmp_path / "mine"), "--elements", "H,C,O")
    loaded = zoo.load(tmp_path / "mine", verify="golden")
    assert energy(loaded) == energy(import_model("pyg-schnet", file, elements=["H", "C", "O"]))
    assert loaded.card.config["cutoff"] == 4.0
    assert "sha256" in loaded.card.notes


def main_quietly(*arguments):
    try:
        main(arguments)
    except SystemExit as done:
        assert not done.code


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": state_of("schnet"), "hyper_parameters": Bomb()}, "bomb.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Bomb()))
    assert read_state(Path("bomb.pt")).keys() == state_of("schnet").keys()
    with pytest.raises(WeightsError, match=r"plain.pt cannot be read as a file of torch.save.* Fix: "):
        read_state(Path("plain.pt"))
    assert not Path("exploded").exists()


def test_a_checkpoint_of_tensors_and_numbers_is_read(tmp_path):
    file = tmp_path / "last.ckpt"
    torch.save({"epoch": 3, "state_dict": {f"model.{k}": v for k, v in state_of("painn").items()}}, file)
    plain = import_state("schnetpack-painn", state_of("painn"), elements=ELEMENTS)
    assert energy(import_model("schnetpack-painn", file, elements=ELEMENTS)) == energy(plain)


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(2)], torch.zeros(3)])
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="no state dict"):
        read_state(tmp_path / "x.pt")


@pytest.mark.parametrize(("kind", "reference", "config"), [
    ("pyg-schnet", "schnet", {}),
    ("pyg-dimenet", "dimenet", {"cutoff": 4.0}),
    ("schnetpack-painn", "painn", {}),
    ("nequip", "nequip", NEQUIP),
    ("fairchem-gemnet", "gemnet", {"cutoff": 4.0}),
])
def test_a_tensor_without_counterpart_is_refused(kind, reference, config):
    """A map that skips what it does not know would give another model without a word."""
    state = state_of(reference) | {"surprise.weight": torch.zeros(3, 4)}
    with pytest.raises(WeightsError, match=r"surprise.weight \(3, 4\)"):
        import_state(kind, state, elements=ELEMENTS, config=config)


@pytest.mark.parametrize("kind", [kind for kind, importer in IMPORTERS.items() if importer.needs])
def test_what_the_weights_do_not_hold_is_asked_for(kind):
    reference = {"pyg-dimenet": "dimenet", "nequip": "nequip", "fairchem-gemnet": "gemnet"}[kind]
    for key in IMPORTERS[kind].needs:
        config = {"cutoff": 4.0, **NEQUIP} if kind == "nequip" else {"cutoff": 4.0}
        del config[key]
        with pytest.raises(WeightsError, match=f"--set {key}="):
            import_state(kind, state_of(reference), elements=ELEMENTS, config=config)


def test_a_configuration_that_does_not_fit_the_weights_is_told_from_the_shapes():
    for wrong in ({"parity": False}, {"num_features": [6, 5, 5]}, {"num_features": 6}, {"num_features": [6, 5]}):
        with pytest.raises(WeightsError, match="num_features"):
            import_state("nequip", state_of("nequip"), elements=ELEMENTS, config=NEQUIP | wrong)


def test_elements_of_nequip_follow_the_order_of_its_types():
    model = import_state("nequip", state_of("nequip"), elements=ELEMENTS, config=NEQUIP)
    swapped = import_state("nequip", state_of("nequip"), elements=["C", "H", "N", "O", "Si"], config=NEQUIP)
    assert abs(energy(model) - energy(swapped)) > 1e-3
    with pytest.raises(WeightsError, match="5 elements, and 2 were named"):
        import_state("nequip", state_of("nequip"), elements=["H", "C"], config=NEQUIP)


def test_standardisation_and_references_are_added_back():
    bare = import_state("pyg-schnet", state_of("schnet"), elements=ELEMENTS)
    atomref = torch.arange(100.0)[:, None]
    full = import_state("pyg-schnet", state_of("schnet") | {"atomref.weight": atomref, "initial_atomref": atomref},
                        elements=ELEMENTS, scale=2.0, shift=0.5)
    numbers = molecule("CH3CH2OH").numbers
    assert energy(full) == pytest.approx(2 * energy(bare) + 0.5 * len(numbers) + numbers.sum(), rel=1e-9)
    assert full.card.targets["energy"].reference == "fitted"


def test_offsets_of_schnetpack_become_references():
    offsets = {"postprocessors.1.mean": torch.tensor([-3.0]), "postprocessors.1.atomref": -torch.arange(100.0)}
    bare = energy(import_state("schnetpack-painn", state_of("painn"), elements=ELEMENTS))
    full = energy(import_state("schnetpack-painn", state_of("painn") | offsets, elements=ELEMENTS))
    numbers = molecule("CH3CH2OH").numbers
    assert full == pytest.approx(bare - 3.0 * len(numbers) - numbers.sum(), rel=1e-9)


def test_filters_shared_between_layers_are_repeated():
    state = state_of("painn")
    rows = 3 * 16
    shared = {key: state[key][:rows] for key in ("representation.filter_net.weight", "representation.filter_net.bias")}
    repeated = {key: torch.cat([value] * 3) for key, value in shared.items()}
    one = import_state("schnetpack-painn", state | shared, elements=ELEMENTS)
    three = import_state("schnetpack-painn", state | repeated, elements=ELEMENTS)
    assert energy(one) == energy(three)


def test_a_radial_basis_that_the_zoo_lacks_is_refused():
    state = state_of("painn")
    state["representation.radial_basis.freqs"] = state["representation.radial_basis.freqs"] * 1.1
    with pytest.raises(WeightsError, match="Bessel frequencies"):
        import_state("schnetpack-painn", state, elements=ELEMENTS)


def test_a_scaling_factor_that_was_never_fitted_acts_as_one():
    name = "int_blocks.0.trip_interaction.scale_rbf.scale_factor"
    unfitted = import_state("fairchem-gemnet", state_of("gemnet") | {name: torch.tensor(0.0)}, elements=ELEMENTS,
                            config={"cutoff": 4.0})
    one = import_state("fairchem-gemnet", state_of("gemnet") | {name: torch.tensor(1.0)}, elements=ELEMENTS,
                       config={"cutoff": 4.0})
    assert energy(unfitted) == energy(one)


@pytest.mark.parametrize(("kind", "extra", "message"), [
    ("pyg-schnet", {"atomic_mass": torch.zeros(100)}, "dipole"),
    ("pyg-dimenet", {"interaction_blocks.0.W": torch.zeros(1)}, r"DimeNet\+\+"),
    ("fairchem-gemnet", {"out_blocks.0.out_forces.linear.weight": torch.zeros(1)}, "direct_forces"),
])
def test_relatives_that_are_another_model_are_named(kind, extra, message):
    reference = {"pyg-schnet": "schnet", "pyg-dimenet": "dimenet", "fairchem-gemnet": "gemnet"}[kind]
    with pytest.raises(WeightsError, match=message):
        import_state(kind, state_of(reference) | extra, elements=ELEMENTS, config={"cutoff": 4.0})


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(ZooError, match="did you mean 'pyg-schnet'"):
        import_state("pyg-scnet", {}, elements=ELEMENTS)


def test_the_tested_versions_are_those_of_the_references():
    files = {"pyg-schnet": "schnet", "pyg-dimenet": "dimenet", "schnetpack-painn": "painn", "nequip": "nequip",
             "fairchem-gemnet": "gemnet", "nequix": "nequix", "sevennet": "sevennet-l3"}
    assert files.keys() == IMPORTERS.keys()
    for kind, file in files.items():
        package, version = IMPORTERS[kind].tested.split()
        with safe_open(REFERENCES / f"{file}.safetensors", "pt") as file:
            assert json.loads(file.metadata()["zoo"])["peer"][package] == version


def test_every_tensor_is_taken_once():
    state = ForeignState({"a": torch.zeros(2)})
    state.take("a")
    with pytest.raises(WeightsError, match="no tensor 'a'"):
        state.take("a")
