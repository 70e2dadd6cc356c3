"""Intervals are calibrated on as many structures of each kind as of the rarest."""

from __future__ import annotations

import torch

from zoo.data.store import Store
from zoo.uncertainty import calibrate


def store_of(of: torch.Tensor, **meta: object) -> Store:
    n = len(of)
    return Store.from_tensors(torch.ones(n, dtype=torch.uint8), torch.zeros(n, 3),
                              n_atoms=torch.ones(n, dtype=torch.int64), labels={"geometry": of.double()},
                              units={"geometry": "1"}, meta=meta)


def test_the_rarest_kind_counts_as_much_as_the_others() -> None:
    kinds = torch.tensor([0] * 900 + [1] * 700 + [2] * 250 + [3] * 40)
    named = store_of(kinds, kinds={"label": "geometry", "names": ["a", "b", "c", "d"]})
    rows = torch.arange(len(kinds))[::2]
    chosen = calibrate._evenly(store_of(kinds), rows, 0)
    assert torch.equal(chosen, rows)  # no kinds are named
    rows = torch.arange(len(kinds))
    chosen = calibrate._evenly(named, rows, 0)
    assert kinds[chosen].bincount().tolist() == [250, 250, 250, 40]
    assert len(chosen.unique()) == len(chosen) and torch.equal(chosen, chosen.sort().values)
    assert not torch.equal(chosen[:250], torch.arange(250))  # drawn, not the first ones
    assert torch.equal(chosen, calibrate._evenly(named, rows, 0))
