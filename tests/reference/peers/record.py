"""Running a reference model in both precisions, and writing its outputs. Torch, NumPy and safetensors only."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from structures import Batch
from torch import Tensor, nn

DTYPES = {"float32": torch.float32, "float64": torch.float64}
FOLDER = Path(__file__).resolve().parents[1]


def make_model(make: Callable[[], nn.Module], dtype: torch.dtype, *, seed: int) -> nn.Module:
    """A reference model whose *constants* were computed in ``dtype`` and whose *weights* are float32 numbers.

    Calling ``.double()`` on a float32 model keeps its grids and frequencies rounded to float32, which hides every
    difference below 1e-7. So the model is built anew with ``dtype`` as the default, and the parameters alone are
    copied from the float32 one. Parameters that all start alike get random values too: a bias of zero agrees with a
    forgotten one, and so does a factor of one.
    """
    torch.manual_seed(seed)
    weights = {name: _drawn(value.detach()) for name, value in _built(make, torch.float32).named_parameters()}
    model = _built(make, dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    return model


def _built(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return make()
    finally:
        torch.set_default_dtype(before)


def _drawn(value: Tensor) -> Tensor:
    value = value.float()
    if bool((value == value.flatten()[0]).all()):
        return value + torch.randn_like(value) * 0.3
    return value


def energies_and_forces(
    energy: Callable[[Tensor, Tensor], Tensor], batch: Batch, dtype: torch.dtype
) -> dict[str, Tensor]:
    """``energy(z, pos)`` and minus its gradient: {'energy': (B,), 'forces': (N, 3)}."""
    pos = torch.from_numpy(batch.pos).to(dtype).requires_grad_()
    value = energy(torch.from_numpy(batch.z), pos).reshape(-1)
    (gradient,) = torch.autograd.grad(value.sum(), pos)
    return {"energy": value.detach(), "forces": -gradient}


def energies_and_derivatives(
    energy: Callable[[Tensor], Tensor], batch: Batch, dtype: torch.dtype
) -> dict[str, Tensor]:
    """``energy(vectors)`` of the edges' vectors (E, 3), with its derivatives: {'energy': (B,), 'forces': (N, 3),
    'stress': (B, 3, 3)}; the stress is ∂E/∂ε / V of crystals and zero of molecules."""
    pos = torch.from_numpy(batch.pos).to(dtype).requires_grad_()
    strain = torch.zeros(len(batch.names), 3, 3, dtype=dtype, requires_grad=True)
    source, target = torch.from_numpy(batch.edge_index)
    vectors = pos[source] + torch.from_numpy(batch.edge_shift).to(dtype) - pos[target]
    of_edge = torch.from_numpy(batch.batch)[target]
    vectors = vectors + torch.einsum("ei,eij->ej", vectors, (strain + strain.mT)[of_edge] / 2)
    value = energy(vectors).reshape(-1)
    by_position, by_strain = torch.autograd.grad(value.sum(), (pos, strain))
    volume = torch.from_numpy(batch.cell).det().abs().to(dtype)
    volume[~torch.from_numpy(batch.pbc)] = torch.inf
    return {"energy": value.detach(), "forces": -by_position, "stress": by_strain / volume[:, None, None]}


def write(
    name: str,
    *,
    model: nn.Module,
    config: dict[str, Any],
    batch: Batch,
    outputs: dict[str, dict[str, Tensor]],
    packages: list[str],
    paper_parameters: dict[str, Any],
    notes: list[str],
    state: dict[str, Tensor] | None = None,
    inputs: dict[str, Tensor] | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write ``tests/reference/<name>.safetensors``.

    Tensors: ``state.*`` the model's whole state dict under its own names (float32), or what ``state`` says instead,
    ``input.*``, ``output.<dtype>.*``. Metadata: one JSON string, since several keys would come out in any order.
    """
    state = model.state_dict() if state is None else state
    tensors = {f"state.{key}": value.detach().clone().contiguous() for key, value in state.items()}
    tensors |= {f"input.{key}": torch.from_numpy(value).contiguous() for key, value in batch.arrays().items()}
    tensors |= {f"input.{key}": value.contiguous() for key, value in (inputs or {}).items()}
    for dtype, values in outputs.items():
        tensors |= {f"output.{dtype}.{key}": value.detach().contiguous() for key, value in values.items()}
    about = {
        "peer": {package: version(package) for package in ["torch", *packages]} | {"python": platform.python_version()},
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "config": config,
        "parameters": sum(p.numel() for p in model.parameters()),
        "paper_parameters": paper_parameters,
        "structures": batch.names,
        "notes": notes,
        **(extra or {}),
    }
    path = FOLDER / f"{name}.safetensors"
    save_file(tensors, path, metadata={"zoo": json.dumps(about, sort_keys=True)})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, energies {outputs['float64']['energy'].tolist()}")
