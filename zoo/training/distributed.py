"""Ranks of one job started by ``torchrun``; a single process needs none of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.errors import TrainingError

__all__ = ["Ranks", "ranks"]


@dataclass(frozen=True)
class Ranks:
    """This process among ``world`` equal ones, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True for the one rank that writes and prints."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """DistributedDataParallel around a whole model, so that forces are differentiated inside the wrapped forward."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)

    def sum(self, values: Tensor) -> Tensor:
        """Sum of a small tensor over ranks, in place.

        Raises:
            TrainingError: another rank has gone.
        """
        if self.world > 1:
            try:
                dist.all_reduce(values)
            except RuntimeError as error:
                raise TrainingError(f"rank {self.rank}: another rank of the job has ended ({error}); the last "
                                    "checkpoint is whole") from error
        return values

    def accumulate(self, model: nn.Module, *, last: bool) -> object:
        """Context of one micro-batch's backward: gradients are exchanged with the last only."""
        return model.no_sync() if self.world > 1 and not last else nullcontext()


@contextmanager
def ranks(device: str | None = None) -> Iterator[Ranks]:
    """Join the job that ``torchrun`` describes in the environment, or stand alone; leaves the job at the end.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; by default CUDA where there is one.
    """
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise TrainingError(f"device {device} was asked for, but torch {torch.__version__} sees no CUDA device")
        chosen = torch.device("cuda", local if chosen.index is None else chosen.index)
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), world, chosen)
    finally:
        dist.destroy_process_group()
