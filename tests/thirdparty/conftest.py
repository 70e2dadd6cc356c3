"""Environments beside ours: the zoo's wheel and those of other packages, installed as a stranger would."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from environments import ROOT, build, call
from hub.server import HubServer


@pytest.fixture(scope="session")
def zoo_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ours, from the files that git tracks."""
    source = tmp_path_factory.mktemp("zoo") / "geometric-zoo"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in names.decode().split("\0"):
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("zoo-dist")
    call(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def environment(zoo_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an environment with our wheel and others; what they depend on is borrowed from the running one."""

    def make(*wheels: Path) -> Path:
        place = tmp_path_factory.mktemp("environment")
        call(sys.executable, "-m", "venv", "--without-pip", place, cwd=place)
        python = place / "bin" / "python"
        site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
        call(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", site, zoo_wheel,
             *wheels, cwd=place)
        # After our own packages on the path; its .pth files, an editable install among them, are not followed.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return python

    return make


@pytest.fixture(scope="session")
def wheel_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    return lambda source: build(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """An empty hub on loopback."""
    with HubServer() as server:
        yield server
