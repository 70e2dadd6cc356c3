"""DimeNet++: agreement with torch-geometric, and what its own shape allows: angles 0 and π, limited triplets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from peer_reference import load
from zoo_plugins.dimenet import zoo_architectures
from zoo_plugins.dimenet.model import DimeNetPlusPlus

from zoo.foreign import pyg
from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges

TINY = {
    "hidden": 10, "blocks": 2, "int_emb": 6, "basis_emb": 3, "out_emb": 8, "num_spherical": 4, "num_radial": 3,
    "before_skip": 1, "after_skip": 1, "output_layers": 1, "cutoff": 3.0, "num_elements": 10,
}  # fmt: skip


def make_like_pyg(config: dict, **changes) -> DimeNetPlusPlus:
    return DimeNetPlusPlus(
        hidden=config["hidden_channels"], blocks=config["num_blocks"], int_emb=config["int_emb_size"],
        basis_emb=config["basis_emb_size"], out_emb=config["out_emb_channels"],
        num_spherical=config["num_spherical"], num_radial=config["num_radial"], cutoff=config["cutoff"],
        envelope_exponent=config["envelope_exponent"], before_skip=config["num_before_skip"],
        after_skip=config["num_after_skip"], output_layers=config["num_output_layers"], **changes,
    )  # fmt: skip


def tiny(**changes) -> DimeNetPlusPlus:
    torch.manual_seed(0)
    model = DimeNetPlusPlus(**(TINY | changes)).double()
    # The paper's zero biases would hide a term that is gone.
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.3)
    return model


def features(model: DimeNetPlusPlus, pos: torch.Tensor, z: list[int] | None = None) -> torch.Tensor:
    graph = Graph.from_tensors(torch.tensor(z or [6] * len(pos)), pos.detach())
    graph = add_edges(graph, model.cutoff)
    vec = pos[graph.source] - pos[graph.target]
    return model(graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
def test_agrees_with_torch_geometric_on_its_weights(dtype, tolerance):
    reference = load("dimenet")
    torch.set_default_dtype(dtype)
    try:
        model = make_like_pyg(reference.about["config"])
    finally:
        torch.set_default_dtype(torch.float32)
    weights = reference.imported(pyg.dimenet, cutoff=model.cutoff)
    model.load_state_dict(weights.backbone)
    pos = reference.inputs["pos"].to(dtype).requires_grad_()
    graph = reference.graph(dtype, pos=pos)
    per_atom = model(graph) @ weights.head[0][0].to(dtype).T
    energy = torch.zeros(graph.num_graphs, dtype=dtype).index_add(0, graph.batch, per_atom[:, 0])
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    scale = {"energy": expected["energy"].abs().max(), "forces": expected["forces"].abs().max()}
    torch.testing.assert_close(energy, expected["energy"], rtol=0, atol=float(tolerance * scale["energy"]))
    # In float32 the package's own forces are this far from its float64 ones.
    noise = (expected["forces"].double() - reference.outputs["float64"]["forces"]).abs().max()
    allowed = float(max(tolerance * scale["forces"], 2 * noise))
    torch.testing.assert_close(-gradient, expected["forces"], rtol=0, atol=allowed)


def test_the_paper_preset_has_the_published_number_of_parameters():
    published = load("dimenet").about["paper_parameters"]["parameters"]
    config = zoo_architectures()[0].presets["paper"]
    model = DimeNetPlusPlus(**config)
    head = (config["blocks"] + 1) * config["out_emb"]
    assert sum(p.numel() for p in model.parameters()) + head == published == 1_885_830


def test_one_linear_readout_is_the_sum_of_the_papers_heads():
    model = DimeNetPlusPlus()
    assert model.irreps_out == "1280x0e"


@pytest.mark.parametrize("angle", [0.0, 180.0], ids=["folded", "straight"])
def test_collinear_atoms_have_finite_second_derivatives(angle):
    direction = [np.cos(np.radians(angle)), np.sin(np.radians(angle)), 0.0] if angle else [1.0, 0.0, 0.0]
    pos = torch.tensor([[1.1, 0, 0], [0.0, 0, 0], [2.1 * direction[0], 0, 0]], dtype=torch.float64).requires_grad_()
    model = tiny()
    (gradient,) = torch.autograd.grad(features(model, pos).square().sum(), pos, create_graph=True)
    gradient.square().sum().backward()
    assert bool(gradient.isfinite().all())
    assert bool(pos.grad.isfinite().all())
    # On a line, forces across it cancel by symmetry.
    torch.testing.assert_close(gradient[:, 1:], torch.zeros(3, 2, dtype=torch.float64))


@pytest.mark.parametrize("cutoff_triplets", [None, 2.0])
def test_forces_can_be_trained_on(cutoff_triplets):
    model = tiny(cutoff_triplets=cutoff_triplets, cutoff=2.6)
    pos = torch.tensor([[0.0, 0, 0], [1.0, 0.1, 0], [-0.4, 1.2, 0.3], [0.5, -0.9, 1.0]], dtype=torch.float64)
    weight = model.interactions[0].spherical_down.weight
    name = "interactions.0.spherical_down.weight"
    graph = add_edges(Graph.from_tensors(torch.tensor([8, 6, 1, 7]), pos), model.cutoff)

    def energy(pos, w):
        vec = pos[graph.source] - pos[graph.target]
        inputs = graph.replace(edge_vec=vec, edge_len=vec.norm(dim=1))
        return torch.func.functional_call(model, {name: w}, (inputs,)).square().sum()

    arguments = (pos.requires_grad_(), weight.detach().requires_grad_())
    assert torch.autograd.gradcheck(energy, arguments, atol=1e-6)
    assert torch.autograd.gradgradcheck(energy, arguments, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_angles_matter_and_only_where_triplets_reach():
    """Two shapes with the same distances within reach: only the angle at the middle atom differs."""

    def bent(angle: float) -> torch.Tensor:
        a = np.radians(angle)
        return torch.tensor([[1.5, 0, 0], [0, 0, 0], [1.5 * np.cos(a), 1.5 * np.sin(a), 0]], dtype=torch.float64)

    sees, blind = tiny(cutoff=2.0), tiny(cutoff=2.0, cutoff_triplets=1.4)
    assert float((features(sees, bent(110.0)) - features(sees, bent(140.0))).detach().abs().max()) > 1e-4
    torch.testing.assert_close(features(blind, bent(110.0)), features(blind, bent(140.0)), rtol=0, atol=1e-13)


def test_an_edge_leaves_the_triplets_smoothly():
    model = tiny(cutoff=3.0, cutoff_triplets=2.0)

    def derivatives(distance: float) -> list[float]:
        pos = torch.tensor([[0.0, 0, 0], [0, 1.2, 0.2], [distance, 0, 0]], dtype=torch.float64)
        x = pos.clone().requires_grad_()
        energy = features(model, x).square().sum()
        (first,) = torch.autograd.grad(energy, x, create_graph=True)
        (second,) = torch.autograd.grad(first[2, 0], x)
        return [float(v.detach()) for v in (energy, first[2, 0], second[2, 0])]

    for inside, outside in zip(derivatives(2.0 - 1e-6), derivatives(2.0 + 1e-6), strict=True):
        assert inside == pytest.approx(outside, abs=2e-3 * max(1.0, abs(outside)) if abs(outside) > 1 else 1e-4)


def test_atoms_without_neighbours_and_pairs_without_triplets():
    model = tiny()
    alone = features(model, torch.zeros(1, 3, dtype=torch.float64))
    pair = features(model, torch.tensor([[0.0, 0, 0], [1.0, 0, 0]], dtype=torch.float64))
    assert alone.shape == (1, 24)
    assert pair.shape == (2, 24)
    assert bool(alone.isfinite().all() & pair.isfinite().all())
    torch.testing.assert_close(pair[0], pair[1])
