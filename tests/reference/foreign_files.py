"""Files of other packages made anew from tests/reference: the same content in the same format, without their code."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

HERE = Path(__file__).parent


@cache
def about(name: str) -> dict:
    with safe_open(HERE / f"{name}.safetensors", "pt") as handle:
        return json.loads(handle.metadata()["zoo"])


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(HERE / f"{name}.safetensors")


def part(name: str, prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors(name).items() if k.startswith(prefix)}


def checkpoint(name: str) -> dict:
    """What sevenn saves: configuration with arrays and numbers as keys, weights, and states of the training."""
    config = dict(about(name)["config"])
    config["_type_map"] = {int(z): n for z, n in config["_type_map"].items()}
    config["shift"] = np.array(config["shift"], dtype=np.float32)
    return {"model_state_dict": part(name, "state."), "config": config, "optimizer_state_dict": {}, "epoch": 3}


def write(name: str, folder: Path) -> Path:
    """The foreign file in ``folder``."""
    if name == "nequix":
        path = folder / "small.nqx"
        path.write_bytes(bytes(tensors(name)["input.file"].tolist()))
    else:
        path = folder / "small.pth"
        torch.save(checkpoint(name), path)
    return path
