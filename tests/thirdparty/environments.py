"""Commands in other environments, and wheels for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from hub.server import HubServer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def call(*command: str | Path, cwd: Path, status: int = 0, **variables: str) -> str:
    """Output and errors of a command that must end with ``status``."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ZOO_", "PYTEST_"))}
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          env={**clean, "PYTHONPATH": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1", **variables})
    said = done.stdout + done.stderr
    assert done.returncode == status, f"{command} ended with {done.returncode}\n{said[-6000:]}"
    return said


def machine(home: Path, hub: HubServer, token: str = "") -> dict[str, str]:
    """Variables of somebody's machine: a home of its own, and the Hub on loopback."""
    return {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf"), "HF_TOKEN": token, "ZOO_HOME": str(home / "zoo"),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def build(source: Path, out: Path) -> Path:
    """The wheel of a source folder, which is left as it was."""
    copy = out / "source" / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*cache"))
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, copy, cwd=out)
    return next(out.glob(f"{source.name.replace('-', '_')}-*.whl"))
