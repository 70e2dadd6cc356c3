"""Plans of batches: everything once, within the limits, even, the same for every number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.batches import cut, plan, seeded


def sizes_of(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    atoms = seeded(seed).integers(1, 30, size=n)
    return {"atoms": atoms, "edges": atoms * (atoms - 1)}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 400), st.integers(1, 64), st.integers(30, 2000), st.integers(0, 5), st.integers(0, 3))
def test_every_structure_comes_exactly_once_within_the_limits(n: int, molecules: int, atoms: int, seed: int,
                                                              epoch: int) -> None:
    sizes = sizes_of(n + 7)
    rows = np.arange(7, n + 7)
    batches = plan(rows, sizes, {"molecules": molecules, "atoms": atoms, "edges": None}, seed=seed, epoch=epoch)
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    for batch in batches:
        assert len(batch) == 1 or (len(batch) <= molecules and sizes["atoms"][batch].sum() <= atoms)


def test_one_structure_beyond_the_limit_comes_alone() -> None:
    sizes = {"atoms": np.array([3, 500, 3]), "edges": np.zeros(3, dtype=int)}
    assert [b.tolist() for b in plan(np.arange(3), sizes, {"atoms": 100})] == [[0], [1], [2]]


def test_the_last_batch_is_as_full_as_the_others() -> None:
    """Greedy filling of 65 molecules at 64 a batch would leave one alone: noisy steps and odd shapes."""
    sizes = sizes_of(65)
    assert sorted(len(b) for b in plan(np.arange(65), sizes, {"molecules": 64}, seed=0)) == [32, 33]
    loads = [sizes_of(5000)["edges"][b].sum() for b in plan(np.arange(5000), sizes_of(5000), {"edges": 20_000}, seed=1)]
    assert min(loads) > 0.7 * max(loads) and max(loads) <= 20_000


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    sizes = sizes_of(100)
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(plan(np.arange(100), sizes, {"molecules": 8}, seed=seed, epoch=epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    state = np.random.get_state()[1].copy()
    order(0, 0)
    assert np.array_equal(state, np.random.get_state()[1]), "the global generator is not touched"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 9), st.integers(0, 3))
def test_shares_are_a_partition_of_about_equal_cost(n: int, parts: int, seed: int) -> None:
    batch = seeded(seed).permutation(200)[:n]
    cost = sizes_of(200, seed)["edges"][batch] + 1
    shares = cut(batch, cost, parts)
    assert len(shares) == parts and np.concatenate(shares).tolist() == batch.tolist()
    loads = np.split(cost, np.cumsum([len(s) for s in shares])[:-1])
    assert max(load.sum() for load in loads) <= cost.sum() / parts + cost.max()


def test_fewer_molecules_than_ranks_leave_shares_empty() -> None:
    shares = cut(np.array([4, 9]), np.array([10, 10]), 4)
    assert sorted(len(s) for s in shares) == [0, 0, 1, 1]


def test_no_limit_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no limit"):
        plan(np.arange(3), sizes_of(3), {"molecules": None})
