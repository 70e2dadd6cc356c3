"""Environments beside ours: the zoo's wheel and those of other packages, installed as a stranger would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from environments import build, call
from hub.server import HubServer


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
        (site / "borrowed.pth").write_text(f"{Path(typer.__file__).parents[1]}\n")
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
