"""Training in several processes, the ranks of one job started by ``torchrun``."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from zoo.errors import TrainingError
from zoo.process.device import chosen_device

__all__ = ["Ranks", "freeze_unused", "ranks"]

_LONGEST_WAIT = timedelta(days=2)
"""For a rank that prepares something for the others, such as a conversion of the data."""
_LONGEST_STEP = timedelta(hours=1)
"""For a rank that is late in a step or an evaluation; torch's own ten minutes are too few for NCCL."""
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


@dataclass(frozen=True)
class Ranks:
    """This process, one of ``world``, and its device; ``hosts`` is the group in which processes wait for each other."""

    rank: int
    world: int
    device: torch.device
    hosts: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """True for the one rank that writes and prints."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """DistributedDataParallel around a whole model: forces are differentiated inside the wrapped forward."""
        if self.world == 1:
            return model
        parallel = nn.parallel.DistributedDataParallel
        # Buffers are constants, equal everywhere; torch 2.13 renamed the switch that keeps them from being sent.
        switch = "forward_sync_buffers"
        if switch not in inspect.signature(parallel).parameters:
            switch = "broadcast_buffers"
        unsent: dict[str, Any] = {switch: False}
        return parallel(model, **unsent)

    def sum(self, values: Tensor) -> Tensor:
        """Sum of a small tensor over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until every rank is here. NCCL's operations would make the devices wait, and not the processes."""
        if self.world > 1:
            dist.barrier(group=self.hosts)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Communication inside this block that fails because another rank has ended raises a clear error.

        Raises:
            TrainingError: another rank has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.world > 1 and any(word in str(error) for word in _LOST):
                raise TrainingError(f"rank {self.rank}: another rank of the job has ended; its own message says why. "
                                    f"The last checkpoint is complete ({error}). Fix: go on from it with "
                                    "--resume") from error
            raise

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[object]:
        """Context of one micro-batch's backward: gradients are exchanged with the last only."""
        if last or self.world == 1:
            return nullcontext()
        assert isinstance(model, nn.parallel.DistributedDataParallel)
        return model.no_sync()


def freeze_unused(model: nn.Module, loss: Tensor) -> None:
    """Leave parameters that get no gradient from ``loss`` out of the training: DDP would wait for their gradients."""
    loss.backward()
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.requires_grad_(False)
        parameter.grad = None


@contextmanager
def ranks(device: str | None = None) -> Iterator[Ranks]:
    """Join the job that ``torchrun`` describes in the environment, if there is one; leave it at the end.

    Args:
        device: ``cpu``, ``cuda``, ``cuda:1``; by default CUDA where there is one.

    Raises:
        ZooError: see :func:`zoo.process.device.chosen_device`.
        TrainingError: one device for several ranks.
    """
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    by_default = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = _device_of_rank(by_default if device is None else device, world, local)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Ranks(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_LONGEST_STEP)
    hosts = dist.new_group(backend="gloo", timeout=_LONGEST_WAIT)
    try:
        with warnings.catch_warnings():
            # The strides of a weight with one row are ambiguous; DDP warns of it without being slower.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            yield Ranks(dist.get_rank(), world, chosen, hosts)
        # All ranks leave together: one that shuts down after another has ended may wait for it for ever.
        dist.barrier(group=hosts)
    finally:
        dist.destroy_process_group()


def _device_of_rank(device: str, world: int, local: int) -> torch.device:
    """The device of rank ``local`` on this machine."""
    chosen = chosen_device(device)
    if chosen.type != "cuda":
        return chosen
    if world == 1:
        return torch.device("cuda", chosen.index or 0)
    if chosen.index is not None:
        raise TrainingError(f"device '{device}' would be shared by the {world} ranks of this job. Fix: give --device "
                            "cuda, which takes one GPU for each rank, and choose them by CUDA_VISIBLE_DEVICES")
    if local >= torch.cuda.device_count():
        raise TrainingError(f"rank {local} of this machine has no GPU of its own: there are "
                            f"{torch.cuda.device_count()}. Fix: start torchrun with --nproc-per-node "
                            f"{torch.cuda.device_count()}")
    return torch.device("cuda", local)
