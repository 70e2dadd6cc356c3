"""`zoo env`: versions, folders and devices, for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.files.strict_json import json_text

__all__ = ["env"]

PACKAGES = ("geometric-zoo", "torch", "e3nn", "torch-geometric", "numpy", "ase", "safetensors", "huggingface-hub",
            "pluggy", "pydantic", "typer", "rich", "PyYAML", "vesin", "qm9pack", "matplotlib", "rdkit",
            "cuequivariance")
VARIABLES = ("ZOO_HOME", "ZOO_PATH", "ZOO_PLUGINS", "ZOO_STRICT_PLUGINS", "ZOO_OFFLINE", "HF_HOME", "HF_HUB_CACHE",
             "HF_HUB_OFFLINE", "HF_ENDPOINT", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def env(
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    devices: Annotated[bool, typer.Option("--devices", help="Import torch and list its devices.")] = False,
) -> None:
    """Show versions, plugins, folders and settings, for a bug report."""
    from zoo.cli import console
    from zoo.registry import host

    report: dict[str, dict[str, str | None]] = {
        "system": {"python": platform.python_version(), "executable": sys.executable,
                   "platform": platform.platform(), "cpus": str(os.cpu_count())},
        "packages": {name: _version(name) for name in PACKAGES},
        "plugins": {r.name: r.package + (" (error)" if r.error else "") for r in host.plugins()},
        "folders": _folders(),
        "settings": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    if devices:
        report["devices"] = _devices()
    if as_json:
        print(json_text(report))
        return
    out = console()
    for section, values in report.items():
        out.print(_section(section, values))


def _section(title: str, values: dict[str, str | None]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_row(Text(title, style="bold"), "")
    for name, value in values.items():
        table.add_row(f"  {name}", Text(value) if value is not None else Text("not installed", style="dim"))
    return table


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _folders() -> dict[str, str | None]:
    from zoo.registry.sources import user_registry

    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    hub_home = os.environ.get("HF_HOME") or str(Path(cache) / "huggingface")
    return {
        "zoo": str(Path(__file__).resolve().parents[1]),
        "home": str(user_registry().parent),
        "user's registry": f"{user_registry()}{'' if user_registry().is_file() else ' (none yet)'}",
        "Hub cache": os.environ.get("HF_HUB_CACHE") or str(Path(hub_home) / "hub"),
    }


def _devices() -> dict[str, str | None]:
    import torch

    found: dict[str, str | None] = {"cpu": f"{torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return found
