"""The library with which a CPU build of torch takes tensors on ``cuda``, compiled once; processes that load it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

__all__ = ["measure", "run", "why_not"]

TESTS = Path(__file__).resolve().parents[1]
_SOURCE = Path(__file__).with_name("guard.cpp")
_COMPILERS = ("c++", "g++", "clang++")


def why_not() -> str | None:
    """Why there is no pretend device here; ``None`` if there is one."""
    if sys.platform != "linux":
        return "the pretend device is loaded with LD_PRELOAD, which needs Linux"
    if torch.version.cuda is not None:
        return "this torch has CUDA itself; the pretend device needs a CPU build"
    if not any(map(shutil.which, _COMPILERS)):
        return f"the pretend device needs a C++ compiler, one of {', '.join(_COMPILERS)}"
    return None


@cache
def _library() -> Path:
    digest = hashlib.sha256(_SOURCE.read_bytes() + str(torch.__version__).encode()).hexdigest()[:16]
    library = TESTS.parent / "build" / "pretend_cuda" / f"guard-{digest}.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{library}.lock"):
        if not library.exists():
            root = Path(torch.__file__).parent
            includes = [f"-I{root / 'include'}", f"-I{root / 'include/torch/csrc/api/include'}"]
            partial = library.with_suffix(f".{os.getpid()}")
            compiler = next(found for name in _COMPILERS if (found := shutil.which(name)))
            done = subprocess.run(
                [compiler, "-std=c++20", "-O0", "-shared", "-fPIC", *includes, str(_SOURCE), "-o", str(partial),
                 f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{root / 'lib'}"],
                capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{_SOURCE.name} does not compile with torch {torch.__version__}: {done.stderr}")
            partial.rename(library)
    return library


def run(*arguments: str, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
    """A Python process with the pretend device; ``pretend_cuda`` can be imported in it."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "LD_PRELOAD": str(_library()), "PYTHONPATH": os.pathsep.join(paths), **variables}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=timeout,
                          env=environment)


def measure(scenario: str, *arguments: str) -> dict[str, Any]:
    """Result of a function of :mod:`pretend_cuda.scenarios`, computed in a process of its own."""
    done = run("-m", "pretend_cuda.scenarios", scenario, *arguments)
    if done.returncode:
        raise RuntimeError(f"{scenario} {' '.join(arguments)}: {done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])
