"""ZBL: the published values, where it ends, and that models with it stay force fields."""

from __future__ import annotations

import ase
import ase.build
import numpy as np
import pytest
import torch

import zoo
from zoo.cards.card import Card
from zoo.errors import CardError, PluginError
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges, edge_vectors
from zoo.model.priors import ZBL


def zbl(cutoff: float = 5.0, *, reach: float = 1.0) -> ZBL:
    """In float64 from the start, as models are built: tables would keep the rounding of float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return ZBL(cutoff, reach=reach)
    finally:
        torch.set_default_dtype(before)


def energy(atoms: ase.Atoms, prior: ZBL | None = None) -> float:
    prior = prior or zbl()
    graph = add_edges(Graph.from_atoms(atoms, dtype=torch.float64), prior.cutoff)
    vec = edge_vectors(graph, graph.pos, graph.cell)
    return float(prior(graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))).sum())


def pair(symbols: str, distance: float) -> ase.Atoms:
    return ase.Atoms(symbols, positions=[[0, 0, 0], [0, 0, distance]])


@pytest.mark.parametrize("symbols, distance", [("HH", 0.05), ("CO", 0.2), ("SiSi", 0.3), ("UH", 0.1)])
def test_screened_coulomb_energy_of_two_nuclei(symbols, distance):
    # The formula in other words: sum over exponentials with the lengths in bohr and energies in hartree.
    first, second = ase.Atoms(symbols).numbers
    length = 0.8854 / (first**0.23 + second**0.23)
    x = distance / 0.529177210903 / length
    weights, rates = [0.18175, 0.50986, 0.28022, 0.02817], [3.1998, 0.94229, 0.4029, 0.20162]
    hartree = first * second / (distance / 0.529177210903) * np.dot(weights, np.exp(-np.multiply(rates, x)))
    end = sum(ase.data.covalent_radii[[first, second]])
    envelope = 1 - 28 * (distance / end) ** 6 + 48 * (distance / end) ** 7 - 21 * (distance / end) ** 8
    assert energy(pair(symbols, distance)) == pytest.approx(27.211386245988 * hartree * envelope, rel=1e-9)


def test_it_ends_at_the_covalent_radii_times_reach_and_never_beyond_the_cutoff():
    end = 2 * 0.76
    assert energy(pair("CC", end - 0.05)) > 0 == energy(pair("CC", end + 1e-9))
    shorter = zbl(reach=0.8)
    assert energy(pair("CC", 0.8 * end - 0.05), shorter) > 0 == energy(pair("CC", 0.8 * end + 1e-9), shorter)
    assert energy(pair("CsCs", 3.9), zbl(4.0)) > 0 == energy(pair("CsCs", 4.0 + 1e-9), zbl(4.0))


def test_the_end_is_smooth_to_the_second_derivative():
    end, step = 2 * 0.76, 1e-3
    below = [energy(pair("CC", end - k * step)) for k in (1, 2, 3)]
    assert abs(below[0] - 2 * below[1] + below[2]) / step**2 < 0.05 * abs(
        energy(pair("CC", 1.3)) - 2 * energy(pair("CC", 1.2)) + energy(pair("CC", 1.1))) / 0.1**2


@pytest.fixture
def model():
    torch.manual_seed(1)
    return zoo.create("painn", preset="small", elements=["H", "C", "O", "Si"], priors={"zbl": {"reach": 1.3}},
                      dtype="float64")


def squeezed() -> ase.Atoms:
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.positions *= 0.7
    return atoms


def squeezed_crystal() -> ase.Atoms:
    atoms = ase.build.bulk("Si", cubic=True)
    atoms.set_cell(0.75 * atoms.cell, scale_atoms=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def test_forces_and_stress_are_derivatives_and_nothing_pulls_at_the_whole(model):
    atoms, step = squeezed_crystal(), 1e-5
    out = model(Graph.from_atoms(atoms, dtype=torch.float64), ["forces", "stress"])
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        ends.append(model(Graph.from_atoms(moved, dtype=torch.float64))["energy"].item())
    slope = (ends[0] - ends[1]) / (2 * step) / atoms.get_volume()
    assert float(out["stress"][0].detach().trace()) == pytest.approx(slope, rel=1e-6)
    assert float(out["forces"].detach().abs().max()) > 10
    assert float(out["forces"].detach().sum(0).abs().max()) < 1e-10


def test_energies_of_atoms_add_up_with_the_prior(model):
    graph = Graph.from_atoms(squeezed(), dtype=torch.float64)
    torch.testing.assert_close(model.atomic_energies(graph).sum(), model(graph)["energy"][0], rtol=1e-12, atol=0)


def test_the_scale_of_the_network_does_not_scale_the_prior(model):
    graph = Graph.from_atoms(pair("CC", 0.4), dtype=torch.float64)
    before = model(graph)["energy"].item()
    own = sum(prior(model.with_vectors(graph)).sum().item() for prior in model.priors.values())
    model.readouts["energy"].set_constants(scale=3.0)
    assert model(graph)["energy"].item() == pytest.approx(3 * (before - own) + own, rel=1e-9)


def test_saved_and_loaded_with_its_card(model, tmp_path):
    atoms = squeezed()
    card = zoo.save(model, tmp_path / "m", name="m")
    assert Card.load(tmp_path / "m").priors.zbl.reach == 1.3 == card.priors.zbl.reach
    again = zoo.load(tmp_path / "m", dtype="float64", verify="golden")
    assert float(again.predict(atoms)["energy"]) == pytest.approx(float(model.predict(atoms)["energy"]), abs=1e-12)
    bare = Card.load(tmp_path / "m").replace(priors=None)
    bare.save(tmp_path / "m")
    assert float(zoo.load(tmp_path / "m").predict(atoms)["energy"]) < float(model.predict(atoms)["energy"]) - 1


def test_the_closer_the_steeper():
    energies = np.array([energy(pair("OH", r)) for r in np.arange(0.95, 0.1, -0.05)])
    slopes = np.diff(energies)
    assert (slopes > 0).all() and (np.diff(slopes) > 0).all()


def test_a_mistake_in_the_card_is_explained():
    for priors, said in (({"zbl": {"rech": 1.0}}, "did you mean 'reach'"), ({"zlb": {}}, "did you mean 'zbl'"),
                         ({"zbl": {"reach": -1.0}}, "priors.zbl.reach")):
        with pytest.raises(CardError, match=said):
            zoo.create("painn", preset="small", priors=priors)
    with pytest.raises(PluginError, match="no target is"):
        zoo.create("painn", targets={"gap": {"readout": "intensive", "unit": "eV"}}, priors={"zbl": {}})


# -- a core, within which the network sees nothing -----------------------------------------------------------------


@pytest.fixture
def cored():
    torch.manual_seed(1)
    return zoo.create("painn", preset="small", elements=["H", "C", "O", "Si"], dtype="float64",
                      priors={"zbl": {"reach": 0.9, "core": 0.8}})


def without_core(model):
    card = model.card
    bare = zoo.create("painn", preset="small", elements=card.domain.elements, dtype="float64",
                      priors={"zbl": {"reach": 0.9}})
    bare.load_state_dict(model.state_dict())
    return bare


def test_beyond_the_core_nothing_changes(cored):
    for atoms in (ase.build.molecule("CH3CH2OH"), pair("CO", 0.8 * 1.42 + 1e-9), ase.build.bulk("Si")):
        graph = Graph.from_atoms(atoms, dtype=torch.float64)
        for name, value in without_core(cored)(graph, ["forces"]).items():
            # To rounding: the lengths shown are the same to the bit, but their derivatives are added in other places.
            torch.testing.assert_close(cored(graph, ["forces"])[name], value, rtol=1e-13, atol=1e-13)
    graph = Graph.from_atoms(pair("CO", 0.8 * 1.42 - 0.02), dtype=torch.float64)
    assert cored(graph)["energy"] != without_core(cored)(graph)["energy"]


def test_within_the_core_only_the_repulsion_is_left(cored):
    near, nearer = (Graph.from_atoms(pair("CO", x * 1.42), dtype=torch.float64) for x in (0.67, 0.3))
    torch.testing.assert_close(cored.features(near), cored.features(nearer), rtol=1e-12, atol=1e-12)
    assert (cored.features(near) - without_core(cored).features(near)).abs().max() > 1e-6
    gain = cored(nearer)["energy"] - cored(near)["energy"]
    prior = energy(pair("CO", 0.3 * 1.42), zbl(reach=0.9)) - energy(pair("CO", 0.67 * 1.42), zbl(reach=0.9))
    assert float(gain.detach()) == pytest.approx(prior, rel=1e-9)


def test_the_length_shown_never_falls_and_has_three_derivatives():
    core, flat = 0.8 * 1.52, 0.85 * 0.8 * 1.52
    prior = zbl(reach=0.9)
    prior.core = 0.8

    def shown(d):
        pairs = torch.stack([torch.zeros(len(d)), torch.ones(len(d))]).long()
        vec = torch.stack([torch.zeros_like(d), torch.zeros_like(d), d], 1)
        graph = Graph(z=torch.tensor([6, 6]), pos=torch.zeros(2, 3), batch=torch.zeros(2).long(),
                      ptr=torch.tensor([0, 2]), edge_index=pairs, edge_vec=vec, edge_len=d)
        graph = prior.network_graph(graph)
        torch.testing.assert_close(graph.edge_vec.norm(dim=1), graph.edge_len)
        return graph.edge_len

    d = torch.linspace(0.2, 1.6, 1401, dtype=torch.float64)
    assert (shown(d).diff() >= -1e-15).all() and torch.equal(shown(d)[d > core], d[d > core])
    for place in (core, flat):
        sides = []
        for side in (-1e-7, 1e-7):
            x = torch.tensor([place + side], dtype=torch.float64, requires_grad=True)
            value, found = shown(x).sum(), []
            for _ in range(3):
                value = torch.autograd.grad(value, x, create_graph=True, allow_unused=True, materialize_grads=True)[0]
                found.append(float(value.detach()))
            sides.append(found)
        # The third derivative has a kink of finite slope, 60 / width², here.
        assert sides[0] == pytest.approx(sides[1], abs=1e-3)


def test_forces_stay_derivatives_across_the_core(cored):
    atoms, step = squeezed(), 1e-5
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    assert distances.min() < 0.75
    graph = Graph.from_atoms(atoms, dtype=torch.float64)
    forces = cored(graph, ["forces"])["forces"].detach().numpy()
    direction = np.random.default_rng(0).standard_normal(forces.shape)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        ends.append(cored(Graph.from_atoms(moved, dtype=torch.float64))["energy"].item())
    assert float((forces * direction).sum()) == pytest.approx(-(ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_a_core_that_nothing_repels_is_refused():
    with pytest.raises(CardError, match=r"core 0\.9 must be less than reach 0\.9"):
        zoo.create("painn", preset="small", priors={"zbl": {"reach": 0.9, "core": 0.9}})
