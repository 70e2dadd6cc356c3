"""SchNet: what distances alone can see. Agreement with torch-geometric is tested in ``tests/reference``."""

from __future__ import annotations

import pytest
import torch
from zoo_plugins.schnet.model import SchNet

from zoo.graph import Graph
from zoo.neighbors import add_edges


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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


def test_filters_from_a_grid_give_the_same_features_and_forces(double):
    exact = small()
    grid = SchNet(cutoff=3.0, channels=4, num_filters=6, num_layers=2, num_radial=5, filter_grid=100)
    grid.load_state_dict(exact.state_dict())
    pos = torch.randn(6, 3, generator=torch.Generator().manual_seed(4)).requires_grad_()
    out = [features(model, pos) for model in (exact, grid)]
    torch.testing.assert_close(*out, atol=1e-6, rtol=1e-6)
    assert not torch.equal(*out)
    forces = [torch.autograd.grad(x.square().sum(), pos)[0] for x in out]
    torch.testing.assert_close(*forces, atol=1e-4, rtol=1e-4)
