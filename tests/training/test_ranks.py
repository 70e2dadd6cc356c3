"""Which GPU a rank takes; whether ranks wait for each other is tested with those that die."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import TrainingError, ZooError
from zoo.training import distributed


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(("device", "world", "local", "expected"), [
    ("cuda", 1, 0, "cuda:0"), ("cuda:1", 1, 0, "cuda:1"), ("cuda", 2, 1, "cuda:1"), ("cpu", 2, 1, "cpu"),
])
def test_each_rank_has_a_gpu_of_its_own(two_gpus: None, device: str, world: int, local: int, expected: str) -> None:
    assert distributed._device_of_rank(device, world, local) == torch.device(expected)


@pytest.mark.parametrize(("device", "local", "message"), [
    ("cuda:1", 0, r"shared by the 4 ranks .* Fix: give --device cuda, .*CUDA_VISIBLE_DEVICES"),
    ("cuda", 2, r"rank 2 of this machine has no GPU of its own: there are 2\. Fix: .*--nproc-per-node 2"),
])
def test_two_ranks_do_not_share_one(two_gpus: None, device: str, local: int, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        distributed._device_of_rank(device, 4, local)


def test_a_gpu_that_is_not_there_is_named(two_gpus: None) -> None:
    with pytest.raises(ZooError, match=r"cuda:2"):
        distributed._device_of_rank("cuda:2", 1, 0)
