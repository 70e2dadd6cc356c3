from __future__ import annotations

import pytest
import torch
from geometry import graph_of, random, rotation

from zoo.nn import ScalarVectorLayer
from zoo.nn.scalar_vector import EdgeInvariants, NodeInvariants

N, C, CUTOFF = 6, 4, 3.0


@pytest.fixture
def layer():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield ScalarVectorLayer(C, CUTOFF, num_radial=5)
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def inputs():
    return random(N, C, seed=1), random(N, 3, C, seed=2), random(N, 3, seed=3)


@pytest.mark.parametrize("reflect", [False, True])
def test_scalars_stay_and_vectors_turn_with_the_structure(layer, inputs, reflect):
    s, v, pos = inputs
    R = rotation(4, reflect=reflect)
    s_out, v_out = layer(s, v, graph_of(pos, CUTOFF))
    s_turned, v_turned = layer(s, R @ v, graph_of(pos @ R.T, CUTOFF))
    torch.testing.assert_close(s_turned, s_out, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(v_turned, R @ v_out, rtol=1e-10, atol=1e-12)


def outputs_without(layer, name, inputs, kind):
    s, v, pos = inputs
    method = "edge_invariants" if kind is EdgeInvariants else "node_invariants"
    full = getattr(layer, method)

    def blinded(*args):
        invariants = full(*args)
        return invariants._replace(**{name: torch.zeros_like(getattr(invariants, name))})

    layer.__dict__[method] = blinded
    return layer(s, v, graph_of(pos, CUTOFF))


@pytest.mark.parametrize("name", EdgeInvariants._fields)
def test_every_edge_invariant_reaches_scalars_and_vectors(layer, inputs, name):
    s_full, v_full = layer(*inputs[:2], graph_of(inputs[2], CUTOFF))
    s_out, v_out = outputs_without(layer, name, inputs, EdgeInvariants)
    assert (s_out - s_full).abs().max() > 1e-3
    assert (v_out - v_full).abs().max() > 1e-3


@pytest.mark.parametrize("name", NodeInvariants._fields)
def test_every_node_invariant_reaches_scalars_and_vectors(layer, inputs, name):
    s_full, v_full = layer(*inputs[:2], graph_of(inputs[2], CUTOFF))
    s_out, v_out = outputs_without(layer, name, inputs, NodeInvariants)
    assert (s_out - s_full).abs().max() > 1e-3
    assert (v_out - v_full).abs().max() > 1e-3


@pytest.mark.parametrize("block", ["f1", "f2", "f3", "f4", "f5"])
def test_every_function_contributes(layer, inputs, block):
    graph = graph_of(inputs[2], CUTOFF)
    before = torch.cat([x.flatten() for x in layer(*inputs[:2], graph)])
    network, part = {"f1": (layer.f13, 0), "f3": (layer.f13, 1), "f2": (layer.f245, 0), "f4": (layer.f245, 1),
                     "f5": (layer.f245, 2)}[block]
    with torch.no_grad():
        network[-1].weight[part * C : (part + 1) * C] = 0
    after = torch.cat([x.flatten() for x in layer(*inputs[:2], graph)])
    assert (after - before).abs().max() > 1e-3


def test_it_differentiates_twice(layer, inputs):
    s, v, pos = (x.requires_grad_() for x in inputs)
    assert torch.autograd.gradgradcheck(lambda s, v, pos: layer(s, v, graph_of(pos, CUTOFF)), (s[:, :], v, pos))


def test_zero_vectors_have_finite_derivatives(layer, inputs):
    s, _, pos = inputs
    v = torch.zeros(N, 3, C, requires_grad=True)
    s_out, v_out = layer(s, v, graph_of(pos, CUTOFF))
    (gradient,) = torch.autograd.grad(s_out.sum() + v_out.square().sum(), v, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), v)
    assert torch.isfinite(gradient).all() and torch.isfinite(second).all()


def test_atoms_without_neighbours_keep_only_their_own_terms(layer):
    s, v = random(1, C), random(1, 3, C)
    s_out, v_out = layer(s, v, graph_of(torch.zeros(1, 3), CUTOFF))
    f1, f3 = layer.f13(torch.cat(layer.node_invariants(s, v), 1)).chunk(2, dim=1)
    torch.testing.assert_close(s_out, s + f1)
    torch.testing.assert_close(v_out, v * (1 + f3[:, None]))


def test_messages_fade_to_second_order_at_the_cutoff(layer):
    s, v = random(2, C), random(2, 3, C)
    distance = torch.tensor(CUTOFF - 1e-5, dtype=torch.float64, requires_grad=True)
    pos = torch.stack([torch.zeros(3), torch.stack([distance, torch.zeros(()), torch.zeros(())])])
    out = layer(s, v, graph_of(pos, CUTOFF))[0].sum()
    (first,) = torch.autograd.grad(out, distance, create_graph=True)
    (second,) = torch.autograd.grad(first, distance)
    alone = layer(s, v, graph_of(torch.tensor([[0.0, 0, 0], [9.0, 0, 0]]), CUTOFF))[0].sum()
    assert abs(out - alone) < 1e-12
    assert abs(first) < 1e-7
    assert abs(second) < 1e-2  # of order 1e3 · 1e-5 Å from the cut-off
