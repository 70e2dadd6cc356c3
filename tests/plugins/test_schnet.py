"""SchNet: agreement with torch-geometric, and what distances alone can see."""

from __future__ import annotations

import math

import pytest
import torch
from peer_reference import load
from torch.nn import functional as F
from zoo_plugins.schnet.model import SchNet

from zoo.graph import Graph
from zoo.importers import pyg
from zoo.neighbors import add_edges

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(reference, dtype):
    config = reference.about["config"]
    torch.set_default_dtype(dtype)
    try:
        model = SchNet(cutoff=config["cutoff"], channels=config["hidden_channels"], num_filters=config["num_filters"],
                       num_layers=config["num_interactions"], num_radial=config["num_gaussians"])
    finally:
        torch.set_default_dtype(torch.float32)
    model.load_state_dict(reference.imported(pyg.schnet).backbone)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_agrees_with_torch_geometric_on_its_weights(dtype):
    reference = load("schnet")
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    pos = reference.inputs["pos"].to(dtype).requires_grad_()
    graph = reference.graph(dtype, pos=pos)
    head = {k: v.to(dtype) for k, v in reference.state.items() if k.startswith("lin")}
    hidden = F.linear(make(reference, dtype)(graph), head["lin1.weight"], head["lin1.bias"])
    hidden = F.softplus(hidden) - math.log(2)
    per_atom = F.linear(hidden, head["lin2.weight"], head["lin2.bias"])[:, 0]
    energy = torch.zeros(graph.num_graphs, dtype=dtype).index_add(0, graph.batch, per_atom)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(energy, expected["energy"], **tolerance)
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    torch.testing.assert_close(-gradient, expected["forces"], **tolerance)


def test_paper_configuration_has_the_published_number_of_parameters():
    head = 128 * 64 + 64 + 64 + 1
    paper = load("schnet").about["paper_parameters"]["parameters"]
    assert sum(p.numel() for p in SchNet(cutoff=10.0).parameters()) + head == paper


def features(model, pos, **options):
    graph = add_edges(Graph.from_tensors(torch.full((len(pos),), 6), pos.detach(), **options), model.cutoff)
    vec = pos[graph.source] - pos[graph.target]
    return model(graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1)))


def small():
    torch.manual_seed(0)
    return SchNet(cutoff=3.0, channels=4, num_filters=6, num_layers=2, num_radial=5)


def test_forces_can_be_trained_on(double):
    pos = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    model = small()
    weight = model.interactions[0].filter[0].weight.detach().requires_grad_()

    def energy(pos, w):
        vec = pos[graph.source] - pos[graph.target]
        inputs = graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))
        return torch.func.functional_call(model, {"interactions.0.filter.0.weight": w}, (inputs,)).square().sum()

    graph = add_edges(Graph.from_tensors(torch.full((5,), 6), pos.detach()), 3.0)
    assert torch.autograd.gradgradcheck(energy, (pos, weight), atol=1e-5)


def test_mirror_images_look_alike(double):
    pos = torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(features(small(), pos), features(small(), -pos))


def test_an_atom_alone_keeps_its_embedding_through_every_layer(double):
    alone = features(small(), torch.zeros(1, 3))
    beside = features(small(), torch.tensor([[0.0, 0, 0], [0, 0, 9.0], [1.0, 0, 9.0]]), n_atoms=torch.tensor([1, 2]))
    torch.testing.assert_close(alone[0], beside[0])
    assert not torch.allclose(beside[1], beside[0])
