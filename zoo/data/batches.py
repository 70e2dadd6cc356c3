"""Batches of an epoch, planned for all processes together and then divided: results do not depend on their number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["cut", "plan", "seeded"]


def seeded(*key: int) -> np.random.Generator:
    """A new generator for (seed, epoch, …), so that every step can be reproduced on its own."""
    return np.random.default_rng(np.random.SeedSequence([k % (1 << 64) for k in key]))


def plan(rows: np.ndarray, sizes: Mapping[str, np.ndarray], limits: Mapping[str, int | None], *,
         seed: int | None = None, epoch: int = 0) -> list[np.ndarray]:
    """Cut rows into batches of nearly equal cost, none above the limits unless one molecule alone is.

    Args:
        rows: (n,) rows of the store; every one appears exactly once.
        sizes: ``atoms`` and ``edges`` of every structure of the store, (M,) each.
        limits: largest numbers of ``molecules``, ``atoms`` and ``edges``; absent or ``None`` is no limit.
        seed: order of this epoch is drawn from (seed, epoch); ``None`` keeps the order given.
    """
    order = np.arange(len(rows)) if seed is None else seeded(seed, epoch).permutation(len(rows))
    sums, caps = [], []
    for name in ("molecules", "atoms", "edges"):
        limit = limits.get(name)
        if limit is not None:
            cost = np.ones(len(rows), dtype=np.int64) if name == "molecules" else sizes[name][rows[order]]
            sums.append(np.cumsum(cost, dtype=np.int64))
            caps.append(int(limit))
    if not sums:
        raise ValueError(f"no limit on the size of a batch: {dict(limits)}")
    ends = _even(sums, caps)
    return [rows[part] for part in np.split(order, ends[:-1])] if ends else []


def _even(sums: list[np.ndarray], caps: list[int]) -> list[int]:
    """Ends of the fewest batches within the limits, which are then lowered until all batches are about equally full."""
    best = _greedy(sums, caps)
    if len(best) <= 1:
        return best
    # Limits below the mean size of a batch would need more batches.
    low, high = max(s[-1] / (len(best) * cap) for s, cap in zip(sums, caps)), 1.0
    for _ in range(8):
        middle = 0.5 * (low + high)
        ends = _greedy(sums, [max(1, int(cap * middle)) for cap in caps])
        if len(ends) <= len(best):
            best, high = ends, middle
        else:
            low = middle
    return best


def _greedy(sums: list[np.ndarray], caps: list[int]) -> list[int]:
    ends: list[int] = []
    start, total = 0, len(sums[0])
    while start < total:
        reach = [np.searchsorted(s, (s[start - 1] if start else 0) + cap, side="right") for s, cap in zip(sums, caps)]
        start = max(int(min(reach)), start + 1)
        ends.append(start)
    return ends


def cut(batch: np.ndarray, weights: np.ndarray, parts: int) -> list[np.ndarray]:
    """Cut one batch into contiguous parts of about equal weight (edges + atoms); parts may be empty.

    Args:
        batch: (b,) rows. weights: (b,) cost of each. parts: ranks, or micro-batches.
    """
    middle = np.cumsum(weights) - 0.5 * weights
    part = np.minimum((middle * parts / max(weights.sum(), 1)).astype(np.int64), parts - 1)
    ends = np.searchsorted(part, np.arange(1, parts), side="left")
    return np.split(batch, ends)
