"""GemNet: agreement with fairchem-core's GemNet-T."""

from __future__ import annotations

import pytest
import torch
from peer_reference import load
from zoo_plugins.gemnet import zoo_architectures
from zoo_plugins.gemnet.model import GemNet

from zoo.importers import fairchem


def make_like_fairchem(config: dict) -> GemNet:
    return GemNet(
        num_spherical=config["num_spherical"], num_radial=config["num_radial"], blocks=config["num_blocks"],
        emb_atom=config["emb_size_atom"], emb_edge=config["emb_size_edge"], emb_trip=config["emb_size_trip"],
        emb_rbf=config["emb_size_rbf"], emb_cbf=config["emb_size_cbf"], bil_trip=config["emb_size_bil_trip"],
        before_skip=config["num_before_skip"], after_skip=config["num_after_skip"], concat=config["num_concat"],
        atom=config["num_atom"], cutoff=config["cutoff"], envelope_exponent=config["envelope"]["exponent"],
        num_elements=config["num_elements"], quadruplets=False, angular_radial="bessel",
    )  # fmt: skip


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
def test_the_triplet_model_agrees_with_fairchem_on_its_weights(dtype, tolerance):
    reference = load("gemnet")
    torch.set_default_dtype(dtype)
    try:
        model = make_like_fairchem(reference.about["config"])
    finally:
        torch.set_default_dtype(torch.float32)
    weights = reference.imported(fairchem.gemnet, cutoff=model.cutoff)
    model.load_state_dict(weights.backbone)
    pos = reference.inputs["pos"].to(dtype).requires_grad_()
    graph = reference.graph(dtype, pos=pos)
    per_atom = model(graph) @ weights.head[0][0].to(dtype).T
    energy = torch.zeros(graph.num_graphs, dtype=dtype).index_add(0, graph.batch, per_atom[:, 0])
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    expected = reference.outputs[str(dtype).removeprefix("torch.")]
    for name, value in (("energy", energy), ("forces", -gradient)):
        atol = tolerance * float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], rtol=0, atol=atol)


def test_the_paper_presets_have_the_published_number_of_parameters():
    published = load("gemnet").about["paper_parameters"]["parameters"]
    presets = zoo_architectures()[0].presets
    head = (presets["paper-t"]["blocks"] + 1) * presets["paper-t"]["emb_atom"]
    like_fairchem = GemNet(**(presets["paper-t"] | {"angular_radial": "bessel"}))
    assert sum(p.numel() for p in like_fairchem.parameters()) + head == published == 1_892_300
    # The paper's table 6 gives 2.2 million for GemNet-Q.
    assert round((sum(p.numel() for p in GemNet(**presets["paper"]).parameters()) + head) / 1e6, 1) == 2.2
