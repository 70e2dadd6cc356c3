"""NequIP: agreement with the nequip package and e3nn, both parities, and the fused convolution's derivatives."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from e3nn import o3
from peer_reference import load
from torch import Tensor
from zoo_plugins.nequip import neighbors as slots
from zoo_plugins.nequip.convolution import Convolution
from zoo_plugins.nequip.coupling import SphericalHarmonics
from zoo_plugins.nequip.irreps import Irrep, layer_irreps, paths
from zoo_plugins.nequip.model import NequIP
from zoo_plugins.nequip.neighbors import Neighbors, arrange

from zoo.errors import ZooError
from zoo.foreign.nequip import nequip as importer
from zoo.foreign.state import ForeignState
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.nn.rotations import random_rotation, transform

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
EVEN, VECTOR, AXIAL, ODD = Irrep(0, 1), Irrep(1, -1), Irrep(1, 1), Irrep(0, -1)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def graph_of(pos, *, z=None, cutoff=4.0) -> Graph:
    pos = torch.as_tensor(pos, dtype=torch.float64)
    z = torch.tensor([1, 6, 7, 8, 9, 6, 1, 1, 8, 6])[: len(pos)] if z is None else torch.as_tensor(z)
    return with_vectors(add_edges(Graph.from_tensors(z, pos.detach()), cutoff), pos)


def with_vectors(graph: Graph, pos: Tensor) -> Graph:
    vec = pos.index_select(0, graph.source) - pos.index_select(0, graph.target)
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def cloud(n=7, seed=2) -> Tensor:
    return 1.6 * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(**changes) -> NequIP:
    torch.manual_seed(0)
    config = {"cutoff": 4.0, "num_layers": 3, "lmax": 2, "num_features": [4, 3, 2], "radial_width": 6,
              "avg_num_neighbors": 1.0}
    return NequIP(**(config | changes))


# -- references ----------------------------------------------------------------------------------------------------


def imported(name: str, dtype: torch.dtype):
    reference = load(name)
    theirs = reference.about["config"]
    given = {key: theirs[key] for key in ("num_features", "parity", "avg_num_neighbors")}
    state = ForeignState({k: v.double() for k, v in reference.state.items()}, given, "nequip")
    found = importer(state)
    state.finish()
    torch.set_default_dtype(dtype)
    try:
        model = NequIP(**found.config, elements=[reference.about["types"][name] for name in theirs["type_names"]])
    finally:
        torch.set_default_dtype(torch.float32)
    model.load_state_dict(found.backbone)
    return reference, found, model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["nequip", "nequip-one-parity"])
def test_agrees_with_the_nequip_package_on_its_weights(name, dtype):
    reference, found, model = imported(name, dtype)
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    pos = reference.inputs["pos"].to(dtype).requires_grad_()
    energy = model(reference.graph(dtype, pos=pos))
    for weight, _ in found.head:
        energy = energy @ weight.to(dtype).T
    species = torch.tensor([model.elements.index(z) for z in reference.inputs["z"].tolist()])
    energy = energy[:, 0] * found.scale + found.element_shift.to(dtype)[species]
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(energy, expected["atom_energy"].to(dtype), **tolerance)
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    torch.testing.assert_close(-gradient, expected["forces"].to(dtype), **tolerance)


@pytest.mark.parametrize("name", ["nequip", "nequip-one-parity"])
def test_holds_exactly_the_parameters_that_matter_in_the_package(name):
    reference, _, model = imported(name, torch.float32)
    theirs = reference.about["config"]
    # Trainable frequencies that nothing has moved come over as constants.
    elsewhere = theirs["num_features"][0] + (theirs["num_bessels"] if theirs.get("bessel_trainable") else 0)
    assert sum(p.numel() for p in model.parameters()) + elsewhere == reference.about["live_parameters"]


def test_paper_configuration_has_the_parameters_that_matter_in_the_package():
    """Of the package's 11,832,200, no path leads from 2,207,744 to the energy: they never see a gradient."""
    about = load("nequip").about["paper_parameters"]
    theirs = about["config"]
    model = NequIP(
        cutoff=theirs["r_max"], num_layers=5, lmax=3, parity=True, num_features=64, trainable_bessel=True,
        radial_depth=theirs["radial_mlp_depth"], radial_width=64, type_features=64, first_self_connection=False,
    )  # fmt: skip
    assert sum(p.numel() for p in model.parameters()) + 64 == about["live_parameters"] == about["parameters"] - 2207744


def test_harmonics_are_those_of_e3nn(double):
    directions = torch.nn.functional.normalize(cloud(20), dim=1)
    expected = o3.spherical_harmonics(list(range(5)), directions, True, "component")
    torch.testing.assert_close(SphericalHarmonics(4)(directions), expected, atol=1e-12, rtol=0)


def arranged(graph: Graph, harmonics: Tensor, *, fused: bool):
    """Neighbors with a weight row per edge, and the atoms in the order they are laid out in."""
    edges = torch.arange(graph.num_edges)
    if not fused:
        return Neighbors(graph.source, graph.target, edges, None, harmonics, None), torch.arange(graph.num_nodes)
    order, atom, edge, blocks = arrange(graph.edge_ptr.diff(), graph.edge_ptr[:-1], 1)
    pad = torch.nn.functional.pad
    source = pad(order.argsort()[graph.source], (0, 1))[edge]
    padded = pad(harmonics, (0, 0, 0, 1))[edge]
    return Neighbors(source, atom, pad(edges, (0, 1))[edge], None, padded, blocks), order


@pytest.mark.parametrize("fused", [True, False])
def test_tensor_product_is_that_of_e3nn(double, fused, monkeypatch):
    """Its "uvu" paths of random weights, summed over neighbours; unequal channels tell the paths apart."""
    monkeypatch.setitem(slots._BLOCK_FLOATS, "cpu", 24)
    irreps_in = {EVEN: 2, AXIAL: 1, VECTOR: 3, Irrep(2, -1): 2}
    irreps_out = {EVEN: 9, VECTOR: 9, Irrep(2, 1): 9, ODD: 9}
    own = Convolution(irreps_in, irreps_out, 2)
    graph = graph_of(cloud(9))
    generator = torch.Generator().manual_seed(5)
    harmonics = torch.randn(graph.num_edges, 9, generator=generator)
    weights = torch.randn(graph.num_edges, own.num_weights, generator=generator)
    features = {k: torch.randn(9, k.dim, mul, generator=generator) for k, mul in irreps_in.items()}
    neighbors, order = arranged(graph, harmonics, fused=fused)
    mid = own({k: x[order] for k, x in features.items()}, weights, neighbors)

    in1, sh = o3.Irreps("+".join(f"{m}x{k}" for k, m in irreps_in.items())), o3.Irreps("0e+1o+2e")
    out = o3.Irreps("+".join(f"{irreps_in[p.source]}x{p.target}" for p in own.paths))
    instructions = [(list(irreps_in).index(p.source), p.l, k, "uvu", True) for k, p in enumerate(own.paths)]
    product = o3.TensorProduct(in1, sh, out, instructions, shared_weights=False, internal_weights=False)
    x = torch.cat([features[k].mT.flatten(1) for k in irreps_in], 1)
    messages = product(x[graph.source], harmonics, weights)
    sums = torch.zeros(9, out.dim).index_add(0, graph.target, messages)
    parts = {k: [] for k in irreps_out}
    for path, piece in zip(own.paths, sums.split([m.dim for m in out], 1)):
        parts[path.target].append(piece.view(9, -1, path.target.dim).mT)
    for irrep, part in parts.items():
        torch.testing.assert_close(mid[irrep][order.argsort()], torch.cat(part, 2), atol=1e-12, rtol=0)


# -- symmetry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("parity", [True, False])
def test_features_of_every_degree_turn_with_the_structure(parity, determinant):
    """The weights are made in float32 and moved to float64: the couplings must not keep float32's rounding."""
    model = small(lmax=3, num_features=[4, 3, 2, 2], output_lmax=3, parity=parity).double()
    matrix = determinant * random_rotation(4)
    before, after = model(graph_of(cloud())), model(graph_of(cloud() @ matrix.T))
    assert model.irreps_out == "4x0e+3x1o+2x2e+2x3o"
    torch.testing.assert_close(after, transform(model.irreps_out, before, matrix), atol=1e-12, rtol=1e-10)
    assert all(float(block.detach().std()) > 1e-4 for block in before.split([4, 9, 10, 14], 1))


def test_odd_scalars_are_pseudoscalars_and_reach_the_output():
    """Chirality enters through features of the other parity: they change sign in a mirror, and matter."""
    model = small(num_layers=6, num_features=4, avg_num_neighbors=0.1).double()
    held = {}
    model.layers[2].register_forward_hook(lambda module, inputs, out: held.update(out))
    pos, mirror = cloud(), torch.diag(torch.tensor([1.0, 1, -1], dtype=torch.float64))
    out, odd = model(graph_of(pos)), held[ODD]
    reflected, odd_reflected = model(graph_of(pos @ mirror)), held[ODD]
    torch.testing.assert_close(reflected, out, atol=1e-14, rtol=1e-10)
    torch.testing.assert_close(odd_reflected, -odd, atol=1e-14, rtol=1e-10)
    assert float(odd.detach().abs().max()) > 1e-5
    with torch.no_grad():
        model.layers[3].linear_up.weights["0o"] *= 2
    assert float((model(graph_of(pos)) - out).detach().abs().max()) > 1e-9


def test_only_features_that_reach_the_output_are_kept():
    kept = layer_irreps([4, 3, 2], num_layers=3, lmax=2, parity=True, output_lmax=0)
    natural = {EVEN: 4, VECTOR: 3, Irrep(2, 1): 2}
    assert kept[1:] == [natural, natural, {EVEN: 4}]
    deeper = layer_irreps([4, 3, 2], num_layers=6, lmax=2, parity=True, output_lmax=0)
    assert ODD in deeper[3] and ODD not in deeper[4]
    for before, after in pairwise(deeper):
        assert {p.source for p in paths(before, after, 2)} == set(before)
        assert {p.target for p in paths(before, after, 2)} == set(after)


def test_every_parameter_gets_a_gradient():
    model = small(num_layers=6, num_features=4, trainable_bessel=True).double()
    model(graph_of(cloud(10))).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in model.parameters())


# -- shapes and corners --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [{"type_features": 5}, {"parity": False, "output_lmax": 1}, {"radial_depth": 2}])
def test_forces_can_be_trained_on(double, config):
    """Second derivatives, by position and by weight, against finite differences."""
    model = small(num_layers=2, num_features=2, **config)
    pos = cloud(5)
    graph = graph_of(pos)
    name = "layers.1.radial.weights.0"
    weight = model.get_parameter(name).detach().requires_grad_()

    def energy(pos, weight):
        return torch.func.functional_call(model, {name: weight}, (with_vectors(graph, pos),)).square().sum()

    assert torch.autograd.gradgradcheck(energy, (pos.requires_grad_(), weight), atol=1e-5, fast_mode=True)


def test_an_isolated_atom_has_finite_features_and_no_gradient_of_position():
    model = small().double()
    alone = model(graph_of(torch.zeros(1, 3)))
    beside = model(graph_of(torch.cat([cloud(4) + 50, torch.zeros(1, 3)]), z=[6, 6, 8, 1, 1]))
    assert bool(alone.isfinite().all()) and float(alone.detach().abs().max()) > 0
    torch.testing.assert_close(beside[-1:], alone)
    alone.sum().backward()


def test_one_structure_in_a_large_batch_of_uneven_degrees_is_itself(monkeypatch):
    """Atoms are worked on in blocks of like degree: no block, slot or order may leak between atoms."""
    model = small().double()
    pos = torch.cat([cloud(n, seed=n) + torch.tensor([100.0 * n, 0, 0]) for n in range(1, 9)])
    z = torch.arange(len(pos)) % 3 + 6
    whole = model(graph_of(pos, z=z))
    monkeypatch.setitem(slots._BLOCK_FLOATS, "cpu", 300)
    torch.testing.assert_close(model(graph_of(pos, z=z)), whole, atol=1e-13, rtol=1e-12)
    start = sum(range(1, 8))
    torch.testing.assert_close(model(graph_of(pos[start:], z=z[start:])), whole[start:], atol=1e-13, rtol=1e-12)


def test_a_directed_graph_needs_no_reverse_edges():
    model, graph = small().double(), graph_of(cloud(6))
    full = model(graph)
    far = torch.tensor([[50.0, 0, 0], [51.0, 0, 0]], dtype=torch.float64)
    both = Graph.from_tensors(torch.cat([graph.z, graph.z[:2]]), torch.cat([graph.pos, far]))
    both = both.with_edges(torch.cat([graph.edge_index, torch.tensor([[6], [7]])], 1))
    torch.testing.assert_close(model(with_vectors(both, both.pos))[:6], full, atol=1e-13, rtol=1e-10)


def test_features_vanish_smoothly_at_the_cutoff():
    model = small(num_layers=2).double()

    def pair(distance):
        pos = torch.zeros(2, 3, dtype=torch.float64)
        pos[1, 0] = distance
        return model(graph_of(pos.requires_grad_())).sum(), pos

    outside, _ = pair(4.1)
    inside, pos = pair(4.0 - 1e-4)
    (slope,) = torch.autograd.grad(inside, pos, create_graph=True)
    (curvature,) = torch.autograd.grad(slope[1, 0], pos)
    # The envelope ends as the third power of the distance left.
    assert abs(float((inside - outside).detach())) < 1e-10
    assert 0 < float(slope.detach().abs().max()) < 1e-6
    assert 0 < float(curvature.abs().max()) < 1e-2


def test_neighbours_are_counted_on_request():
    model, graph = small(), graph_of(cloud(6).float())
    model.fit_constants(graph)
    assert float(model.avg_num_neighbors) == pytest.approx(graph.num_edges / graph.num_nodes)
    before = model(graph.to(dtype=torch.float32))
    model.avg_num_neighbors *= 4
    assert not torch.allclose(model(graph.to(dtype=torch.float32)), before)


def test_radial_networks_start_with_weights_of_mean_zero_and_variance_one():
    torch.manual_seed(0)
    model = NequIP(elements=[1, 6], cutoff=4.0, num_layers=2, lmax=1, num_features=32)
    weights = torch.cat([w.detach().flatten() for name, w in model.named_parameters() if ".radial." in name])
    assert len(weights) > 5_000
    assert abs(weights.mean()) < 0.03
    assert weights.var() == pytest.approx(1.0, abs=0.05)
    assert weights.abs().max() <= 3**0.5


def test_state_is_weights_and_the_fitted_constant():
    model = small(parity=True)
    assert set(model.state_dict()) - dict(model.named_parameters()).keys() == {"avg_num_neighbors"}


def test_making_and_running_a_model_leaves_torch_as_it_was():
    model, graph = small(), graph_of(cloud().float()).to(dtype=torch.float32)
    before = torch.get_rng_state()
    model(graph)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() is torch.float32


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_features": [4, 4]}, r"num_features has 2 entries; lmax = 2 needs 3"),
        ({"output_lmax": 3}, r"output_lmax = 3"),
        ({"num_layers": 0}, r"num_layers = 0"),
        ({"elements": [6, 6]}, r"distinct atomic numbers"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(config, message):
    with pytest.raises(ZooError, match=message):
        small(**config)


def test_an_unknown_element_is_named():
    with pytest.raises(ZooError, match=r"\[14\].*\[1, 6, 7, 8, 9\]"):
        small()(graph_of(cloud(3).float(), z=[6, 14, 1]).to(dtype=torch.float32))
