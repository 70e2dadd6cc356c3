"""Which device to compute on, from the name that a user gives."""

from __future__ import annotations

import re

import torch

from zoo.errors import ZooError

__all__ = ["chosen_device"]

_KNOWN = re.compile(r"(cpu|cuda|mps)(:\d+)?")


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device of this name; the CPU for ``None``.

    Raises:
        ZooError: another name than ``cpu``, ``cuda`` and ``cuda:N``, or a device that this machine does not have.
    """
    name = "cpu" if device is None else str(device)
    if not _KNOWN.fullmatch(name):
        raise ZooError(f"device '{name}' is unknown. Fix: choose cpu, cuda, or cuda:N for GPU number N.")
    chosen = torch.device(name)
    if chosen.type == "mps":
        raise ZooError("device 'mps' has no float64, which total energies are summed in. Fix: use device='cpu'.")
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise ZooError(f"device '{chosen}' was asked for, and this torch ({torch.__version__}) finds no CUDA "
                           "device. Fix: use device='cpu', or install torch for CUDA.")
        if chosen.index is not None and chosen.index >= torch.cuda.device_count():
            raise ZooError(f"device '{chosen}' was asked for, and there are {torch.cuda.device_count()} CUDA devices. "
                           f"Fix: choose cuda:0 to cuda:{torch.cuda.device_count() - 1}.")
    return chosen
