"""The contracts hold for graphs that are no molecules: scalars, vectors and weighted edges in, both kinds out."""

from __future__ import annotations

import pytest
import torch

from zoo.data.pointclouds import point_clouds
from zoo.errors import StructureError
from zoo.graph.graph import Graph
from zoo.loading.models import load
from zoo.nn.rotations import random_rotation
from zoo.training import train

PLUGIN = """
    @hookimpl
    def zoo_architectures():
        return [Architecture(name="cloudnet", factory="zoo_cloudnet.model:CloudNet",
                             inputs=("node_attrs", "node_vectors", "edge_attrs"))]
"""

MODEL = """
    import torch
    from torch import nn

    from zoo.nn import ScalarVectorLayer, gather, sum_by


    class CloudNet(nn.Module):
        def __init__(self, *, cutoff: float = 12.0, channels: int = 16) -> None:
            super().__init__()
            self.cutoff, self.channels = cutoff, channels
            self.irreps_out = f"{channels}x0e+{channels}x1o"
            self.scalars = nn.Linear(2, channels)
            self.vectors = nn.Linear(1, channels, bias=False)
            self.sent = nn.Linear(2, channels)
            self.layers = nn.ModuleList(ScalarVectorLayer(channels, cutoff) for _ in range(2))

        def forward(self, graph):
            s = self.scalars(graph.node_attrs)
            v = self.vectors(graph.node_vectors.transpose(1, 2))
            sent = gather(self.sent(graph.node_attrs), graph.source) * graph.edge_attrs
            sent = sent * torch.exp(-graph.edge_len)[:, None]
            s = s + sum_by(sent, graph.target, graph.num_nodes)
            v = v + sum_by(graph.edge_vec[:, :, None] * sent[:, None, :], graph.target, graph.num_nodes)
            for layer in self.layers:
                s, v = layer(s, v, graph)
            return torch.cat([s, v.transpose(1, 2).flatten(1)], 1)
"""

CARD = """
schema: 1
name: cloudnet-clouds
architecture: cloudnet
config: {cutoff: 12.0, channels: 16}
inputs: [node_attrs, node_vectors, edge_attrs]
targets:
  strength: {readout: energy, unit: "1"}
  flow: {readout: vector, unit: "1"}
domain: {elements: [H, He], charge: null, spin: null}
data: {path: DATA, split: {val: 40, test: 40}}
recipe:
  lr: 5.0e-3
  budget: {epochs: 25}
  batch: {molecules: 16}
  schedule: {kind: cosine, warmup: 10}
  ema: 0.98
"""


@pytest.fixture
def trained(yard, tmp_path):
    yard.install("zoo-cloudnet", {
        "zoo_cloudnet/__init__.py": "from zoo.plugin import Architecture, hookimpl\n" + _dedent(PLUGIN),
        "zoo_cloudnet/model.py": _dedent(MODEL),
    }, entry={"cloudnet": "zoo_cloudnet"})
    point_clouds(240, seed=1).save(tmp_path / "clouds")
    (tmp_path / "card.yaml").write_text(CARD.replace("DATA", str(tmp_path / "clouds")))
    train(tmp_path / "card.yaml", out=tmp_path / "run", device="cpu", quiet=True)
    return load(tmp_path / "run")


def _dedent(text: str) -> str:
    import textwrap

    return textwrap.dedent(text)


def test_an_invariant_and_a_vector_are_learnt_from_vectors_and_weighted_edges(trained):
    best = trained.card.training.best_validation
    fresh = point_clouds(120, seed=2)
    graph = fresh.graph(torch.arange(120))
    out = trained(graph)
    for name in ("strength", "flow"):
        label = fresh.labels[name]
        error = (out[name].detach() - label).abs().mean() / (label - label.mean(0)).abs().mean()
        assert float(error) < 0.7, (name, float(error), best)


def test_the_vector_turns_with_the_cloud_and_its_vectors(trained):
    graph = point_clouds(8, seed=3).graph(torch.arange(8), dtype=torch.float64)
    turn = random_rotation(4)
    turned = graph.replace(pos=graph.pos @ turn.T, node_vectors=graph.node_vectors @ turn.T)
    a, b = (trained.double()(g) for g in (graph, turned))
    torch.testing.assert_close(b["flow"], a["flow"] @ turn.T, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(b["strength"], a["strength"], atol=1e-6, rtol=1e-6)
    only_points = graph.replace(pos=graph.pos @ turn.T)
    assert not torch.allclose(trained(only_points)["strength"], a["strength"], atol=1e-3)


def test_an_input_that_is_missing_is_named(trained):
    with pytest.raises(StructureError, match="node_attrs"):
        trained.predict(Graph.from_tensors(torch.tensor([1, 1]), torch.randn(2, 3)))
