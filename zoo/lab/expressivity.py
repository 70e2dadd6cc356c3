"""Which structures a family of networks distinguishes, and from how many layers on.

The weights are random: if a family can distinguish two structures, it does so for almost all weights. A structure is
embedded as Σ_i φ(h_i), with h_i the scalar features of atom i and φ a fixed random non-linear map: lists of features
that differ give sums that differ, for almost any φ. The difference of two structures is compared with float64 noise:
the difference between a structure and a rotated copy of itself with permuted atoms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.graph.graph import Graph
from zoo.lab.pairs import Pair, pairs
from zoo.lab.probes import Probe, probe
from zoo.nn import sum_by
from zoo.nn.irreps import FeatureLayout
from zoo.nn.rotations import random_rotation
from zoo.registry.families import FAMILIES

__all__ = ["SURE", "Verdict", "expressivity", "first_distinguished", "together", "turned"]

SURE = 1e3
"""Smallest ratio of difference to noise of a distinguished pair. Measured ratios are about 1, or above 1e6."""

_COPIES = 3
_WIDTH = 32


@dataclass(frozen=True)
class Verdict:
    """Whether random networks of a family and depth, or a trained model, give two structures different embeddings.

    Attributes:
        name: architecture or model.
        pair: name of the pair.
        layers: depth; ``None`` if it cannot be chosen.
        difference: difference of the two embeddings relative to their size; the largest over seeds.
        noise: the same for rotated and permuted copies of one structure; at least float64's spacing.
    """

    name: str
    pair: str
    layers: int | None
    difference: float
    noise: float

    @property
    def margin(self) -> float:
        return self.difference / self.noise

    @property
    def distinguished(self) -> bool:
        return self.margin > SURE


def expressivity(
    names: Iterable[str] = FAMILIES,
    *,
    chosen: Sequence[Pair] | None = None,
    layers: Sequence[int] = (1, 2, 3, 4, 5),
    seeds: int = 3,
    config: Mapping[str, Any] | None = None,
) -> list[Verdict]:
    """A verdict for every network, depth and pair, in this order.

    Args:
        names: architectures of the installed plugins, or trained models; the latter have one depth and one seed.
        chosen: the pairs; all of :func:`zoo.lab.pairs.pairs` if absent.
        seeds: number of random initialisations of each depth.
        config: keywords of the backbones that override those chosen here, such as ``{"lmax": 1}``.
    """
    chosen = pairs() if chosen is None else list(chosen)
    batch = together([g for pair in chosen for g in (pair.a, pair.b, *_copies(pair.a), *_copies(pair.b))])
    verdicts = []
    for name in names:
        found = probe(name)
        for depth in found.depths(layers):
            verdicts += _measured(found, depth, chosen, batch, seeds, config or {})
    return verdicts


def first_distinguished(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], Verdict | None]:
    """For every (name, pair) the shallowest network that distinguishes the pair, or ``None``."""
    first: dict[tuple[str, str], Verdict | None] = {}
    for verdict in sorted(verdicts, key=lambda v: v.layers or 0):
        key = verdict.name, verdict.pair
        if first.setdefault(key) is None and verdict.distinguished:
            first[key] = verdict
    return first


def turned(graph: Graph, seed: int) -> Graph:
    """The same structure after a random rotation, its atoms and edges in a random order."""
    order = torch.randperm(graph.num_nodes, generator=torch.Generator().manual_seed(seed))
    place = torch.argsort(order)
    pos = graph.pos[order] @ random_rotation(seed).T
    return Graph.from_tensors(graph.z[order], pos).with_edges(place[graph.edge_index])


def together(graphs: Sequence[Graph]) -> Graph:
    """One batch of structures that have their own edges."""
    n_atoms = torch.tensor([g.num_nodes for g in graphs])
    first = (n_atoms.cumsum(0) - n_atoms).tolist()
    batch = Graph.from_tensors(torch.cat([g.z for g in graphs]), torch.cat([g.pos for g in graphs]), n_atoms=n_atoms)
    return batch.with_edges(torch.cat([g.edge_index + k for g, k in zip(graphs, first)], 1))


def _copies(graph: Graph) -> list[Graph]:
    return [turned(graph, seed) for seed in range(_COPIES)]


def _measured(
    found: Probe, layers: int | None, chosen: Sequence[Pair], batch: Graph, seeds: int, config: Mapping[str, Any]
) -> list[Verdict]:
    difference, noise = ([0.0] * len(chosen) for _ in range(2))
    for seed in range(1 if found.trained is not None else seeds):
        model = found.model(layers=layers, seed=seed, **config)
        with torch.no_grad():
            h = model.features(batch)
        for k, pair in enumerate(chosen):
            embedded = _embedding(_scalars(model.layout, h, pair.mirror), batch, seed)
            a, b, *copies = embedded.view(len(chosen), -1, _WIDTH)[k]
            size = float(embedded.square().mean().sqrt())
            noises = [(copy - own).abs().max() for own, copy in zip([a] * _COPIES + [b] * _COPIES, copies)]
            difference[k] = max(difference[k], float((a - b).abs().max()) / size)
            noise[k] = max(noise[k], float(max(noises)) / size, torch.finfo(torch.float64).eps)
    return [Verdict(found.name, pair.name, layers, d, n) for pair, d, n in zip(chosen, difference, noise)]


def _scalars(layout: FeatureLayout, h: Tensor, odd: bool) -> Tensor:
    """The 0e columns, and with ``odd`` also the 0o columns, whose sign changes under reflection."""
    wanted = [t for t in layout.terms if t.l == 0 and (t.p == 1 or odd)]
    return torch.cat([h[:, t.start : t.stop] for t in wanted], 1)


def _embedding(h: Tensor, graph: Graph, seed: int) -> Tensor:
    """Σ_i φ(h_i) with φ(h) = tanh(W h + b), (B, width)."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(h.shape[1], _WIDTH, generator=generator, dtype=h.dtype)
    bias = torch.randn(_WIDTH, generator=generator, dtype=h.dtype)
    scale = h.square().mean().sqrt() * h.shape[1] ** 0.5
    return sum_by(torch.tanh(h / scale @ weight + bias), graph.batch, graph.num_graphs)
