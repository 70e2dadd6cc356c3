"""Copies from the host to a device that the host does not wait for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["sent", "sent_together"]


def sent(x: Tensor, device: torch.device) -> Tensor:
    """``x`` on ``device``. To CUDA it goes by pinned memory: a copy from other memory makes the host wait."""
    if x.device == device or device.type != "cuda" or x.device.type != "cpu":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def sent_together(parts: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Vectors of one dtype on ``device``, in one copy."""
    if device.type != "cuda" or parts[0].device.type != "cpu":
        return [sent(part, device) for part in parts]
    return sent(torch.cat(list(parts)), device).split([len(part) for part in parts])
