"""Training on a pretend CUDA device where it meets the host: data that stay there, full memory, resumed runs."""

from __future__ import annotations

import pytest

from pretend_cuda import guard

pytestmark = [pytest.mark.slow, pytest.mark.skipif(guard.why_not() is not None, reason=guard.why_not() or "")]


@pytest.mark.parametrize("family", ["schnet", "dimenet", "gemnet", "painn", "nequip"])
def test_every_family_trains_in_every_way(family: str) -> None:
    said = guard.measure("small_runs", family)
    assert "written and read back" in said["host"], "a dry run with the data on the host"
    assert "6 molecules with" in said["full"] and "--set recipe.accumulate=2" in said["full"]
    assert "note: device was cpu and is cuda now" in said["from the cpu"]
    assert "note: device was cuda and is cpu now" in said["to the cpu"]
    assert {"bfloat16", "repeatable"} <= said.keys()
