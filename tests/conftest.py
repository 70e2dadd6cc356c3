"""Fixtures that many tests share: a home of one's own, plugins made on the spot, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]

# Workers of pytest-xdist share the cores: each computes in one thread, and so do the processes that it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_OWN_VARIABLES = ("ZOO_PATH", "ZOO_PLUGINS", "ZOO_STRICT_PLUGINS", "ZOO_OFFLINE")


@pytest.fixture(scope="session", autouse=True)
def zoo_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the home of the person who runs it."""
    home = tmp_path_factory.mktemp("zoo-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        for name in _OWN_VARIABLES:
            patch.delenv(name, raising=False)
        yield home


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see, for what is made once under a lock."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine


@pytest.fixture(scope="session")
def zoo_wheel(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built once from what git tracks, so that a file nobody committed is missing here too."""
    out = shared_folder / "zoo-wheel"
    with FileLock(f"{out}.lock"):
        if not out.exists():
            source, made = tmp_path_factory.mktemp("source") / "geometric-zoo", tmp_path_factory.mktemp("made")
            tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
            for name in tracked.decode().split("\0"):
                if name and not name.startswith("tests/") and (ROOT / name).is_file():
                    (source / name).parent.mkdir(parents=True, exist_ok=True)
                    (source / name).write_bytes((ROOT / name).read_bytes())
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
            done = subprocess.run([*pip, "-w", made, source], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            made.rename(out)
    return next(out.glob("*.whl"))


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormals in its process; no test after it is to notice."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


class PluginYard:
    """Distributions written into a folder, as pip would leave them: a package and its entry points in group ``zoo``."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.site.mkdir()
        self.modules: set[str] = set()

    def install(self, dist: str, files: dict[str, str], *, entry: dict[str, str], version: str = "0.1") -> None:
        for name, source in files.items():
            path = self.site / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source), encoding="utf-8")
            self.modules.add(name.split("/")[0].removesuffix(".py"))
        info = self.site / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        points = "".join(f"{name} = {value}\n" for name, value in entry.items())
        (info / "entry_points.txt").write_text(f"[zoo]\n{points}")

    def simple(self, dist: str, body: str, *, name: str | None = None, version: str = "0.1") -> None:
        """One module ``zoo_<name>`` with the imports every hook module needs, then ``body``."""
        name = name or dist.removeprefix("zoo-")
        module = f"zoo_{name}"
        head = "from zoo.plugin import Architecture, DatasetSpec, hookimpl\n\n"
        self.install(dist, {f"{module}/__init__.py": head + textwrap.dedent(body)}, entry={name: module},
                     version=version)

    def entry_points(self) -> list[EntryPoint]:
        found = [p for d in distributions(path=[str(self.site)]) for p in d.entry_points.select(group="zoo")]
        return sorted(found, key=lambda point: point.name)


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginYard]:
    """An import path of its own for plugins; everything imported from it is forgotten afterwards."""
    from zoo.registry import host

    made = PluginYard(tmp_path / "site")
    monkeypatch.syspath_prepend(str(made.site))
    host.current.cache_clear()
    yield made
    host.current.cache_clear()
    for module in [m for m in sys.modules if m.split(".")[0] in made.modules]:
        del sys.modules[module]


@pytest.fixture
def run_zoo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``zoo …`` in a process of its own; keywords are environment variables."""

    def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "zoo", *arguments], capture_output=True, text=True, cwd=cwd,
                              env={**os.environ, "COLUMNS": "200", **variables}, timeout=120)

    return run
