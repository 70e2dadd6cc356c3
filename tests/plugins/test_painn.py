"""PaiNN: its features against schnetpack's, and the corners of its own layout."""

from __future__ import annotations

import pytest
import torch
from peer_reference import load
from zoo_plugins.painn.model import PaiNN

from zoo.errors import ZooError
from zoo.foreign.schnetpack import painn
from zoo.foreign.state import ForeignState
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_scalars_and_vectors_are_those_of_schnetpack(dtype):
    reference = load("painn")
    imported = painn(ForeignState({name: value.double() for name, value in reference.state.items()}))
    torch.set_default_dtype(dtype)
    try:
        model = PaiNN(**imported.config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.load_state_dict(imported.backbone)
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    features, C = model(reference.graph(dtype)), model.channels
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(features[:, :C], expected["scalars"], **tolerance)
    torch.testing.assert_close(features[:, C:].view(-1, C, 3).mT, expected["vectors"], **tolerance)


def graph_of(pos, n_atoms=None, z=None):
    pos = torch.as_tensor(pos, dtype=torch.float64)
    graph = Graph.from_tensors(torch.full((len(pos),), 6) if z is None else z, pos, n_atoms=n_atoms)
    return add_edges(graph, 3.0)


def with_vectors(graph, pos):
    vec = pos[graph.source] - pos[graph.target]
    return graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))


def small(**changes):
    torch.manual_seed(0)
    return PaiNN(**({"cutoff": 3.0, "channels": 4, "num_layers": 2, "num_radial": 5} | changes))


@pytest.mark.parametrize("radial", ["bessel", "gaussian"])
def test_forces_can_be_trained_on(double, radial):
    """Second derivatives of an energy, by position and by weight, against finite differences."""
    model = small(radial=radial)
    pos = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    graph = graph_of(pos.detach())
    weight = model.messages[1].filter.weight

    def energy(pos, w):
        outputs = torch.func.functional_call(model, {"messages.1.filter.weight": w}, (with_vectors(graph, pos),))
        return outputs.square().sum()

    assert torch.autograd.gradgradcheck(energy, (pos, weight.detach().requires_grad_()), atol=1e-5)


def test_collinear_atoms_and_zero_vectors_have_finite_gradients(double):
    """On an inversion centre the vector features vanish; the norm's gradient must not be 0/0 there."""
    pos = torch.tensor([[-1.2, 0, 0], [0, 0, 0], [1.2, 0, 0]], requires_grad=True)
    out = small()(with_vectors(graph_of(pos.detach()), pos))
    assert out[1, 4:].abs().max() < 1e-12
    (gradient,) = torch.autograd.grad(out.square().sum(), pos, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), pos)
    assert torch.isfinite(gradient).all() and torch.isfinite(second).all()


def test_a_directed_graph_needs_no_reverse_edges(double):
    """Edges given by the caller may lack their reverse: filters are then made for each edge."""
    model, graph = small(), graph_of(torch.randn(6, 3, generator=torch.Generator().manual_seed(1)))
    full = model(with_vectors(graph, graph.pos))
    one_way = graph.with_edges(graph.edge_index[:, 1:])
    assert not torch.allclose(model(with_vectors(one_way, graph.pos)), full)
    # An edge of an atom pair elsewhere, unpaired, makes the whole graph directed; the rest must not notice.
    pos = torch.cat([graph.pos, torch.tensor([[50.0, 0, 0], [51.0, 0, 0]])])
    both = Graph.from_tensors(torch.full((8,), 6), pos).with_edges(
        torch.cat([graph.edge_index, torch.tensor([[6], [7]])], 1)
    )
    torch.testing.assert_close(model(with_vectors(both, pos))[:6], full)


def test_features_vanish_smoothly_at_the_cutoff(double):
    model = small()
    outside = model(with_vectors(graph_of([[0.0, 0, 0], [3.1, 0, 0]]), torch.tensor([[0.0, 0, 0], [3.1, 0, 0]])))
    pos = torch.tensor([[0.0, 0, 0], [3.0 - 1e-6, 0, 0]])
    inside = model(with_vectors(graph_of(pos), pos))
    torch.testing.assert_close(inside, outside, atol=1e-9, rtol=0)


def test_autocast_mixes_precisions_in_forward_and_backward():
    model = small()
    pos = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    graph = add_edges(Graph.from_tensors(torch.full((5,), 6), pos.detach()), 3.0)
    exact = model(with_vectors(graph, pos))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(with_vectors(graph, pos))
    torch.testing.assert_close(rounded.float(), exact, atol=0.1, rtol=0.1)
    rounded.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_an_unknown_radial_basis_names_the_known_ones():
    with pytest.raises(ZooError, match=r"bessel.*gaussian"):
        PaiNN(radial="besel")
