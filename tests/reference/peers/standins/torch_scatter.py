"""Stands in for the compiled package of this name, as far as GemNet-T asks for it. Written from its documentation."""

from __future__ import annotations

import torch
from torch import Tensor


def scatter(src: Tensor, index: Tensor, dim: int = -1, *, dim_size: int, reduce: str = "sum") -> Tensor:
    """Sums (or means) of the rows of ``src`` that share an index; only along the first dimension."""
    if dim != 0 or reduce not in ("sum", "add", "mean"):
        raise NotImplementedError(f"scatter along dim {dim} with reduce={reduce!r}")
    size = int(dim_size)
    out = src.new_zeros(size, *src.shape[1:]).index_add(0, index, src)
    if reduce == "mean":
        count = torch.bincount(index, minlength=size).clamp(min=1).to(src.dtype)
        out = out / count.reshape(-1, *[1] * (src.dim() - 1))
    return out


def segment_csr(src: Tensor, indptr: Tensor, reduce: str = "sum") -> Tensor:
    """Sums over the slices src[indptr[i] : indptr[i + 1]]."""
    if reduce != "sum":
        raise NotImplementedError(f"segment_csr with reduce={reduce!r}")
    total = torch.cat([src.new_zeros(1, *src.shape[1:]), src.cumsum(0)])
    return total[indptr[1:]] - total[indptr[:-1]]


def segment_coo(*_: object, **__: object) -> Tensor:
    raise NotImplementedError("imported by the package's own neighbour list, which is not used here")
