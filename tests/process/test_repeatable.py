"""Repeatable computations: asked of torch inside the block, and only there."""

from __future__ import annotations

import pytest
import torch

from zoo.process.repeatable import repeatable


@pytest.mark.parametrize("wanted", [True, False])
def test_torch_is_asked_inside_the_block_only(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with pytest.raises(KeyError), repeatable(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
