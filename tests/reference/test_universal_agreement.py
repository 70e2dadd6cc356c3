"""Relatives of NequIP with published universal weights, against the packages of their authors: small models with random
weights in the files' own formats. ``make peers`` writes the references anew."""

from __future__ import annotations

import pytest
import torch
from foreign_files import about, part, write

import zoo
from zoo.elements import SYMBOLS
from zoo.errors import WeightsError
from zoo.foreign import importer
from zoo.graph.graph import Graph
from zoo.loading import import_model
from zoo.loading.importing import import_state
from zoo.registry import host

MODELS = ["nequix", "sevennet-xplor", "sevennet-unnormalised", "sevennet-l3", "sevennet-modal-pbe",
          "sevennet-modal-r2scan"]
DTYPES = [torch.float32, torch.float64]


def kind(name):
    return name.partition("-")[0]


def choices(name):
    modality = about(name).get("modality")
    return {"modality": modality} if modality else {}


def imported(name, folder):
    """Through the file, and stored in its precision, as users have it."""
    return import_model(kind(name), write(name, folder), pbc=True, config=choices(name))


def exact(name, folder):
    """Through the file, in float64 from then on."""
    read = host.resolve(importer(kind(name)).read, "the reader")
    state, header = read(write(name, folder))
    doubled = {k: v.double() for k, v in state.items() if v.is_floating_point()}
    return import_state(kind(name), doubled, header=header, pbc=True, config=choices(name))


def graph(name, dtype, *, only=None):
    """All structures of the reference, or one of them."""
    given = part(name, "input.")
    chosen = range(len(given["cell"])) if only is None else [only]
    atoms = torch.isin(given["batch"], torch.tensor(list(chosen)))
    return Graph.from_tensors(given["z"][atoms], given["pos"][atoms].to(dtype),
                              n_atoms=torch.bincount(given["batch"])[list(chosen)],
                              cell=given["cell"][list(chosen)].to(dtype),
                              pbc=given["pbc"][list(chosen), None].expand(-1, 3))


def outputs(model, name, dtype):
    """Energies and forces of all structures; the stress of the crystal, the last."""
    found = model(graph(name, dtype), derivatives=("forces",))
    crystal = model(graph(name, dtype, only=len(part(name, "input.")["cell"]) - 1), derivatives=("stress",))
    return {key: value.detach() for key, value in (found | {"stress": crystal["stress"]}).items()}


def expected(name, dtype):
    found = part(name, f"output.{str(dtype).removeprefix('torch.')}.")
    return found | {"stress": found["stress"][part(name, "input.")["pbc"]]}


@pytest.mark.parametrize("name", MODELS)
def test_energies_forces_and_stress_are_those_of_the_authors_code(name, tmp_path):
    """In float64 from the file on, nothing but rounding differs; molecules, a lone atom, a crystal with images."""
    found, reference = outputs(exact(name, tmp_path), name, torch.float64), expected(name, torch.float64)
    assert reference["forces"].abs().max() > 0.1
    for key in ("energy", "forces", "stress"):
        torch.testing.assert_close(found[key], reference[key], rtol=0, atol=1e-10 * float(reference[key].abs().max()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_weights_as_they_are_stored_are_within_what_the_guide_says(name, dtype, tmp_path):
    model = imported(name, tmp_path)
    assert model.dtype == torch.float32
    found, reference = outputs(model.to(dtype), name, dtype), expected(name, torch.float64)
    energy, relative, force, stress = (1e-6, 1e-6, 1e-6, 1e-7) if dtype == torch.float64 else (5e-6, 0, 3e-5, 3e-6)
    assert (found["energy"].double() - reference["energy"]).abs().max() <= 9 * energy
    for key, allowed in (("forces", force), ("stress", stress)):
        torch.testing.assert_close(found[key].double(), reference[key], rtol=relative, atol=allowed)


@pytest.mark.parametrize("name", MODELS)
def test_the_conversion_is_the_same_each_time(name, tmp_path):
    hashes = set()
    for n in range(2):
        card = zoo.save(imported(name, tmp_path), tmp_path / str(n))
        hashes.add(card.weights.sha256)
    assert len(hashes) == 1
    loaded = zoo.load(tmp_path / "0", verify="golden")
    assert loaded.card.domain.elements == [SYMBOLS[z] for z in (1, 6, 7, 8, 14)]
    found = outputs(loaded.double(), name, torch.float64)["energy"]
    assert torch.equal(found, outputs(imported(name, tmp_path).double(), name, torch.float64)["energy"])


@pytest.mark.parametrize("name", ["nequix", "sevennet-xplor", "sevennet-l3", "sevennet-modal-pbe"])
def test_every_weight_of_the_file_is_felt(name, tmp_path):
    """Disturbing any one changes the energies: none is mapped in vain, or read from the wrong place."""
    state, header = host.resolve(importer(kind(name)).read, "the reader")(write(name, tmp_path))
    state = {k: v.double() for k, v in state.items() if v.is_floating_point()}

    def energy(changed):
        model = import_state(kind(name), changed, header=header, pbc=True, config=choices(name))
        return outputs(model, name, torch.float64)["energy"]

    before = energy(state)
    derived = ("mask", "_w3j", "energy.scale")  # one scale for all elements: noise would differ
    weights = [k for k, v in state.items() if v.numel() and not any(part in k for part in derived)]
    for key in weights[:: max(1, len(weights) // 12)]:
        noise = 0.1 * torch.rand(state[key].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert not torch.allclose(before, energy(state | {key: state[key] + noise}), rtol=1e-9), key


def test_mirror_images_differ_under_so3_alone(tmp_path):
    for name, differs in (("nequix", False), ("sevennet-l3", True)):
        model = exact(name, tmp_path)
        given = graph(name, torch.float64)
        mirrored = given.replace(pos=given.pos * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64),
                                 cell=given.cell * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
        gap = (model(given)["energy"] - model(mirrored)["energy"]).abs().max()
        assert bool(gap > 1e-9) == differs, name


def test_a_modality_is_asked_for_by_name(tmp_path):
    file = write("sevennet-modal-pbe", tmp_path)
    with pytest.raises(WeightsError, match=r"asks which of PBE, R2SCAN. Fix: add --set modality=PBE"):
        import_model("sevennet", file)
    with pytest.raises(WeightsError, match=r"has no modality 'HSE', only of PBE, R2SCAN. Fix: "):
        import_model("sevennet", file, config={"modality": "HSE"})
    assert import_model("sevennet", file, config={"modality": "pbe"}).num_parameters
    plain = write("sevennet-xplor", tmp_path)
    with pytest.raises(WeightsError, match=r"no modalities. Fix: leave out --set modality"):
        import_model("sevennet", plain, config={"modality": "PBE"})


def test_an_element_that_the_file_does_not_know_is_named(tmp_path):
    model = imported("nequix", tmp_path)
    import ase

    with pytest.raises(zoo.errors.ZooError, match="Po"):
        model.predict(ase.Atoms("Po"))
    with pytest.raises(WeightsError, match=r"5 elements it knows, and others were named. Fix: leave out --elements"):
        import_model("nequix", write("nequix", tmp_path), elements=["H", "Po"])
