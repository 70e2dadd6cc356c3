"""SchNet: what distances alone can see. Agreement with torch-geometric is tested in ``tests/reference``."""

from __future__ import annotations

import pytest
import torch
from zoo_plugins.schnet.model import SchNet

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.nn import FilteredSum, RowSum


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def features(model, pos, **options):
    graph = add_edges(Graph.from_tensors(torch.full((len(pos),), 6), pos.detach(), **options), model.cutoff)
    vec = pos[graph.source] - pos[graph.target]
    return model(graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1)))


def small(**options):
    torch.manual_seed(0)
    return SchNet(**{"cutoff": 3.0, "channels": 4, "num_filters": 6, "num_layers": 2, "num_radial": 5} | options)


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
    exact, grid = small(), small(filter_grid=50)
    pos = torch.randn(6, 3, generator=torch.Generator().manual_seed(4)).requires_grad_()
    out = [features(model, pos) for model in (exact, grid)]
    torch.testing.assert_close(*out, atol=1e-6, rtol=1e-6)
    assert not torch.equal(*out)
    forces = [torch.autograd.grad(x.square().sum(), pos)[0] for x in out]
    torch.testing.assert_close(*forces, atol=1e-4, rtol=1e-4)


def test_by_default_many_pairs_in_float32_use_the_grid_and_lose_no_digit():
    """Against float64, the default is as accurate as the filters at every distance, in energies and in forces."""
    pos = 2.1 * torch.cartesian_prod(*[torch.arange(6.0)] * 3) + 0.2 * torch.randn(216, 3)
    errors = {}
    for name, model in {"default": small(num_radial=8), "exact": small(num_radial=8, filter_grid=0)}.items():
        results = []
        for dtype in (torch.float32, torch.float64):
            x = pos.to(dtype).requires_grad_()
            energy = features(model.to(dtype), x).square().sum()
            results.append((energy.double(), torch.autograd.grad(energy, x)[0].double()))
        (energy, forces), (true_energy, true_forces) = results
        errors[name] = abs(energy - true_energy) / true_energy, (forces - true_forces).norm() / true_forces.norm()
    assert not torch.equal(errors["default"][1], errors["exact"][1])
    assert errors["default"][0] < 1e-6
    assert errors["default"][1] < 3 * errors["exact"][1]


@pytest.mark.parametrize(("side", "dtype", "uses"), [(6, torch.float32, True), (6, torch.float64, False),
                                                     (3, torch.float32, False)])
def test_the_default_grid_is_for_many_pairs_in_float32(side, dtype, uses):
    model = small(num_radial=8).to(dtype)
    read = []
    model.table.register_forward_hook(lambda *_: read.append(True))
    features(model, 2.1 * torch.cartesian_prod(*[torch.arange(float(side), dtype=dtype)] * 3))
    assert bool(read) == uses


def test_many_pairs_on_a_grid_are_not_taken_for_a_small_molecule(monkeypatch):
    """The table is small, what is read from it is not: plain operations would take longer than no grid at all."""
    def plain(*_):
        raise AssertionError("plain operations on thousands of pairs")

    for form in (RowSum, FilteredSum):
        monkeypatch.setattr(form, "plain", plain)
    model = small(channels=128, num_filters=128, num_radial=8)
    pos = 2.1 * torch.cartesian_prod(*[torch.arange(8.0)] * 3)
    assert model.table.num_nodes * 128 < 65_536
    features(model, pos)
