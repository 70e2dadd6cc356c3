"""Point clouds with scalars, vectors and weighted edges as inputs, and an invariant and a vector as labels.

The labels follow a formula, so that the best possible error is known. The set shows that the interfaces work for any
geometric graph (A, S, X, V), and is the smallest example of a custom data set.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from zoo.data.edges import given_edges
from zoo.data.store import Store

__all__ = ["point_clouds"]

NEIGHBORS = 4


def point_clouds(n: int = 200, *, points: tuple[int, int] = (6, 12), seed: int = 0) -> Store:
    """``n`` random clouds with the size drawn from ``points`` (inclusive).

    Inputs: ``node_attrs`` (A, 2) scalars a; ``node_vectors`` (A, 1, 3) vectors v; edges to the nearest points, in both
    directions, with weights w = ``edge_attrs`` (E, 1). Labels, both without a unit:

        strength = Σ_ij w_ij a_i⁰ a_j⁰ exp(−d_ij) + Σ_i a_i¹ ‖v_i‖²           (n,), invariant
        flow     = Σ_ij w_ij a_j¹ x_ij / (1 + d_ij²) + Σ_i a_i⁰ v_i           (n, 3), a vector
    """
    random = np.random.default_rng(seed)
    sizes = random.integers(points[0], points[1] + 1, size=n)
    total = int(sizes.sum())
    pos = torch.from_numpy(random.normal(size=(total, 3)) * 1.5)
    scalars = torch.from_numpy(random.normal(size=(total, 2)))
    vectors = torch.from_numpy(random.normal(size=(total, 1, 3)) * 0.5)
    kind = torch.from_numpy(random.integers(1, 3, size=total))
    start = np.concatenate([[0], np.cumsum(sizes)])
    pieces = [_nearest(pos[lo:hi]) for lo, hi in pairwise(start.tolist())]
    counts = torch.tensor([piece.shape[1] for piece in pieces])
    offset = torch.repeat_interleave(torch.from_numpy(start[:-1]), counts)
    local = torch.cat(pieces, 1)
    source, target = local + offset
    weights = torch.from_numpy(random.uniform(0.2, 1.0, size=(len(source), 1)))

    vec = pos[source] - pos[target]
    length = vec.norm(dim=1, keepdim=True)
    pair = weights * scalars[source, :1] * scalars[target, :1] * torch.exp(-length)
    flux = weights * scalars[source, 1:] * vec / (1 + length.square())
    owner = torch.repeat_interleave(torch.arange(n), torch.from_numpy(sizes))
    square = vectors[:, 0].square().sum(1, keepdim=True)
    strength = _sum(pair, owner[target], n) + _sum(scalars[:, 1:] * square, owner, n)
    flow = _sum(flux, owner[target], n) + _sum(scalars[:, :1] * vectors[:, 0], owner, n)
    n_atoms = torch.from_numpy(sizes)
    return Store.from_tensors(
        kind, pos, n_atoms=n_atoms, node_attrs=scalars, node_vectors=vectors,
        labels={"strength": strength[:, 0], "flow": flow}, units={"strength": "1", "flow": "1"},
        edges=given_edges(counts, local, n_atoms, weights),
        meta={"name": "point-clouds", "theory": "formula", "license": "MIT", "citation": []},
    )


def _nearest(pos: Tensor) -> Tensor:
    """(2, e) edges j→i to each point's nearest others, made symmetric."""
    distance = torch.cdist(pos, pos).fill_diagonal_(torch.inf)
    near = torch.zeros_like(distance, dtype=torch.bool)
    near.scatter_(1, distance.topk(min(NEIGHBORS, len(pos) - 1), largest=False).indices, True)
    target, source = (near | near.T).nonzero().T
    return torch.stack([source, target])


def _sum(values: Tensor, owner: Tensor, n: int) -> Tensor:
    return values.new_zeros(n, values.shape[1]).index_add(0, owner, values)
