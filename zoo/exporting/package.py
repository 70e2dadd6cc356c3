"""``zoo.export``: writes a file that runs without the zoo, and next to it a description with the measured parity."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import ase
import torch
from torch.export import ExportedProgram

from zoo.elements import NUMBERS, SYMBOLS
from zoo.errors import ExportError
from zoo.exporting.loaded import load_function
from zoo.exporting.parity import Parity, example, measure
from zoo.exporting.record import record
from zoo.exporting.signature import INPUTS, MINIMUM, OUTPUTS, STRESS, arguments
from zoo.files.atomic_writes import keep_older
from zoo.files.hashing import sha256_of
from zoo.loading.building import exact_copy
from zoo.loading.models import load
from zoo.model.model import Model
from zoo.model.plausible import EnergyLimits

__all__ = ["FORMATS", "describe", "export"]

Format = Literal["torch-export", "aoti"]
FORMATS: tuple[Format, ...] = ("torch-export", "aoti")


def export(
    model: Model | str | Path,
    path: str | Path | None = None,
    format: Format = "torch-export",
    *,
    dtype: torch.dtype | str | None = None,
    stress: bool | None = None,
    device: str | torch.device | None = None,
    structures: Sequence[ase.Atoms] = (),
) -> Path:
    """Export energy, forces and stress of a model as one file, with a description in ``<file>.json``.

    Args:
        model: a model, or anything that ``zoo.load`` takes.
        path: of the file, ending in ``.pt2``; ``NAME.pt2`` in the working folder if absent.
        format: ``"torch-export"``, a graph that Python runs on any machine; or ``"aoti"``, a library compiled for this
            machine, for Python and C++ without Python.
        dtype: of the network, the model's own if absent; inputs and outputs are always float64.
        stress: whether stress is among the outputs; if absent, whether periodic structures are in the model's domain.
        device: the file works on this kind of device only; the model's own if absent.
        structures: further structures on which parity is measured.

    Returns the path of the file. It is written only after the exported model has reproduced the original on structures
    of several sizes, one of them periodic and one larger than the recorded example.

    Raises:
        ExportError: the model has no energy or reads other inputs, its architecture cannot be recorded, the compiler
            fails, or the numbers differ.
        UnknownNameError: see :func:`zoo.load`.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}. Fix: choose from {', '.join(FORMATS)}.")
    model, stress = _ready(model, dtype, device, stress)
    path = Path(f"{_name(model)}.pt2" if path is None else path)
    if path.suffix != ".pt2":
        raise ExportError(f"{path}: the name of an exported model ends in .pt2, as torch requires. "
                          "Fix: name it NAME.pt2.")
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    program = record(model, arguments(example(model)), stress=stress)
    seconds["record"] = time.perf_counter() - start
    # In the target folder, so that the finished file can be renamed into place.
    folder = Path(tempfile.mkdtemp(prefix=f".{path.stem}.", dir=path.parent))
    try:
        description = describe(model, format, stress)
        partial = folder / path.name
        start = time.perf_counter()
        _write(program, partial, format, description)
        seconds["write"] = time.perf_counter() - start
        parity = measure(model, load_function(partial, format), stress=stress, structures=structures)
        description |= _measured(parity, seconds, partial)
        sidecar = folder / f"{path.name}.json"
        sidecar.write_text(json.dumps(description, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        with keep_older(path, path.with_name(sidecar.name)):
            os.replace(partial, path)
            os.replace(sidecar, path.with_name(sidecar.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def _ready(
    model: Model | str | Path, dtype: torch.dtype | str | None, device: Any, stress: bool | None
) -> tuple[Model, bool]:
    """A copy whose weights are constants, in the dtype and on the device asked for."""
    if not isinstance(model, Model):
        ready = load(model, device=device, dtype=dtype)
    else:
        ready = exact_copy(model, dtype, device=device)
    if ready.energy_target is None:
        raise ExportError(f"{_name(ready)} has no energy to export, only {', '.join(ready.readouts)}: an exported "
                          "model gives energy and forces. Fix: choose a model with an energy target.")
    if ready.card is not None and ready.card.inputs:
        raise ExportError(f"{_name(ready)} reads {', '.join(ready.card.inputs)}, and an exported model takes elements, "
                          "positions, cell and edges only. Fix: choose a model without inputs.")
    if stress is None:
        stress = ready.knows_crystals
    return ready.eval().requires_grad_(False), stress


def _write(program: ExportedProgram, path: Path, format: Format, description: Mapping[str, Any]) -> None:
    if format == "torch-export":
        torch.export.save(program, path, extra_files={"zoo.json": json.dumps(description)})
        return
    # Metadata that C++ programs read from the package. The number of threads is chosen at run time.
    short = {key: str(description[key]) for key in ("model", "cutoff", "dtype", "weights_sha256")}
    short["elements"] = " ".join(description["elements"])
    short["atomic_numbers"] = " ".join(str(NUMBERS[symbol]) for symbol in description["elements"])
    configs = {"aot_inductor.metadata": short, "cpp.dynamic_threads": True}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # internal warnings of torch
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=configs)
    except Exception as error:
        line = str(error).strip().splitlines()[:1] or ["no reason given"]
        raise ExportError(f"torch's compiler could not build this model (it needs a C++ compiler such as g++): "
                          f"{type(error).__name__}: {line[0]}. "
                          "Fix: install g++, or use format='torch-export'.") from error


def describe(model: Model, format: Format, stress: bool) -> dict[str, Any]:
    """The description of an export, without parity; written to ``<file>.json``."""
    card, limits = model.card, EnergyLimits.of(model)
    return {
        "schema": 1,
        "model": _name(model),
        "architecture": type(model.backbone).__name__ if card is None else card.architecture,
        "format": format,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "cutoff": model.cutoff,
        "elements": [SYMBOLS[z] for z in model.elements],
        "pbc": model.knows_crystals,
        "energy_limits": {"lone": {SYMBOLS[z]: energy for z, energy in limits.lone.items()}, "spread": limits.spread},
        "inputs": INPUTS,
        "outputs": OUTPUTS | (STRESS if stress else {}),
        "smallest": {"atoms": MINIMUM, "edges": MINIMUM},
        "weights_sha256": _state_hash(model),
        "card_sha256": None if card is None or card.weights is None else card.weights.sha256,
        "versions": {"geometric-zoo": version("geometric-zoo"), "torch": str(torch.__version__)},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _measured(parity: Sequence[Parity], seconds: Mapping[str, float], file: Path) -> dict[str, Any]:
    return {
        "file_sha256": sha256_of(file),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "parity": [p.to_dict() for p in parity],
    }


def _state_hash(model: Model) -> str:
    """Hash of names, shapes and values of all saved tensors, in the dtype of the export."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def _name(model: Model) -> str:
    return type(model.backbone).__name__ if model.card is None else model.card.name
