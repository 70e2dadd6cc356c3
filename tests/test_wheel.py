"""The wheel: what is in it, whether its imports keep the contract, and that it runs in a clean environment.

An editable install hides mapped packages from import-linter, so the contract is checked on the wheel, unzipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": "", "COLUMNS": "160"})
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


# -- in `make test` ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def unzipped(zoo_wheel, tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(zoo_wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture
def plant(unzipped) -> Iterator:
    """Write files into the unzipped wheel; they are gone after the test."""
    planted: list[Path] = []

    def write(name: str, source: str) -> None:
        planted.append(unzipped / name)
        planted[-1].write_text(source)

    yield write
    for path in planted:
        path.unlink()


def lint(site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=site, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(site), "COLUMNS": "160"})


def circles(site: Path) -> list[str]:
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "import_circles.py")], cwd=site, capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(site)})
    assert done.stderr == ""
    assert done.returncode == bool(done.stdout)
    return done.stdout.splitlines()


def test_the_wheel_has_no_top_level_package_called_plugins_or_cards(zoo_wheel):
    names = zipfile.ZipFile(zoo_wheel).namelist()
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"zoo", "zoo_plugins"}
    assert "zoo_plugins/registry.yaml" in names
    assert "zoo_plugins/cards/painn-qm9/card.yaml" in names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".pkl", ".bin"))]


def test_every_file_of_the_package_is_in_the_wheel(zoo_wheel):
    """A folder without ``__init__.py`` imports well from the source tree, and is no part of the wheel."""
    tracked = run("git", "ls-files", "zoo", "plugins", cwd=ROOT).split()
    ours = {re.sub("^plugins/", "zoo_plugins/", name) for name in tracked if (ROOT / name).is_file()}
    assert ours - set(zipfile.ZipFile(zoo_wheel).namelist()) == set()


def test_the_wheel_is_small_enough_to_carry_its_weights(zoo_wheel):
    assert zoo_wheel.stat().st_size < 60e6


def test_imports_keep_the_contract(unzipped):
    done = lint(unzipped)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(("name", "source", "contract"), [
    ("zoo_plugins/schnet/planted.py", "from zoo.model.model import Model\n", "plugins see only the authoring surface"),
    ("zoo/model/planted.py", "import zoo_plugins.schnet\n", "zoo never imports plugins"),
    ("zoo/graph/planted.py", "from zoo.cli import main\n", "imports run one way"),
    ("zoo/planted.py", "", "imports run one way"),
], ids=["a plugin imports more than it may", "the zoo imports a plugin", "an import runs up", "no layer names it"])
def test_an_import_against_the_contract_is_caught(unzipped, plant, name, source, contract):
    plant(name, source)
    done = lint(unzipped)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout
    assert "planted" in done.stdout


def test_no_files_import_each_other_in_a_circle(unzipped):
    assert circles(unzipped) == []


def test_a_circle_is_caught(unzipped, plant):
    plant("zoo/files/planted_a.py", "import zoo.files.planted_b\n")
    plant("zoo/files/planted_b.py", "def late():\n    from zoo.files import planted_a\n")
    assert circles(unzipped) == ["zoo.files.planted_a zoo.files.planted_b"]


# -- in `make test-all`: a clean environment -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def clean(zoo_wheel, shared_folder) -> Path:
    """Python of a new environment that holds the wheel and what it asks for, nothing else."""
    place = shared_folder / "clean"
    python = place / "venv" / "bin" / "python"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            place.mkdir()
            try:
                run(sys.executable, "-m", "venv", place / "venv", cwd=place)
                pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c",
                       ROOT / "constraints.txt"]
                run(*pip, "torch", cwd=place)
                run(*pip, zoo_wheel, cwd=place)
            except AssertionError:
                shutil.rmtree(place)
                raise
    return python


@pytest.mark.slow
def test_it_lists_and_predicts_from_another_folder(clean, tmp_path):
    listing = run(clean, "-m", "zoo", "list", cwd=tmp_path)
    example = ROOT / "examples" / "acetamide.xyz"
    for family in ("schnet", "dimenet", "gemnet", "painn", "nequip"):
        assert f"{family}-qm9" in listing
        output = run(clean, "-m", "zoo", "predict", f"{family}-qm9", example, "--csv", cwd=tmp_path)
        assert "acetamide.xyz" in output


@pytest.mark.slow
def test_reference_outputs_repeat_in_the_clean_environment(clean, tmp_path):
    code = "import zoo; [zoo.load(name, verify='golden') for name in zoo.list_models('*-qm9')]"
    run(clean, "-c", code, cwd=tmp_path)
