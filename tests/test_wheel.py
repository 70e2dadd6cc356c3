"""The wheel in a clean environment, run from another folder: what an editable install would hide."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": "", "COLUMNS": "160", **variables})
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Built from what git tracks, so that a file nobody committed is missing here too."""
    source = tmp_path_factory.mktemp("source")
    archive = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in archive.decode().split("\0"):
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, source, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def clean(wheel, tmp_path_factory) -> Path:
    """Python of a new environment that holds the wheel and what it asks for, nothing else."""
    place = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    python = place / "venv" / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", ROOT / "constraints.txt"]
    run(*pip, "torch", cwd=place)
    run(*pip, wheel, cwd=place)
    return python


def test_the_wheel_has_no_top_level_package_called_plugins_or_cards(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"zoo", "zoo_plugins"}
    assert "zoo_plugins/registry.yaml" in names
    assert "zoo_plugins/cards/painn-qm9/card.yaml" in names
    assert not [name for name in names if name.endswith((".pt", ".pth", ".pkl", ".bin"))]


def test_the_wheel_is_small_enough_to_carry_its_weights(wheel):
    assert wheel.stat().st_size < 60e6


def test_it_lists_and_predicts_from_another_folder(clean, tmp_path):
    listing = run(clean, "-m", "zoo", "list", cwd=tmp_path)
    example = ROOT / "examples" / "acetamide.xyz"
    for family in ("schnet", "dimenet", "gemnet", "painn", "nequip"):
        assert f"{family}-qm9" in listing
        output = run(clean, "-m", "zoo", "predict", f"{family}-qm9", example, "--csv", cwd=tmp_path)
        assert "acetamide.xyz" in output


def test_goldens_repeat_in_the_clean_environment(clean, tmp_path):
    code = "import zoo; [zoo.load(name, verify='golden') for name in zoo.list_models('*-qm9')]"
    run(clean, "-c", code, cwd=tmp_path)


def test_the_installed_layers_hold(clean, tmp_path):
    """import-linter on the wheel: an editable install hides mapped packages from it."""
    run(clean, "-m", "pip", "install", "-q", "import-linter", cwd=tmp_path)
    config = tmp_path / "pyproject.toml"
    config.write_text((ROOT / "pyproject.toml").read_text())
    lint = clean.parent / "lint-imports"
    run(lint, "--config", config, "--no-cache", cwd=tmp_path)


def test_a_planted_import_is_caught(clean, tmp_path):
    config = tmp_path / "pyproject.toml"
    config.write_text((ROOT / "pyproject.toml").read_text())
    site = Path(run(clean, "-c", "import zoo_plugins; print(zoo_plugins.__path__[0])", cwd=tmp_path).strip())
    planted = site / "schnet" / "planted.py"
    planted.write_text("from zoo.model.model import Model\n")
    try:
        done = subprocess.run([clean.parent / "lint-imports", "--config", config, "--no-cache"], cwd=tmp_path,
                              capture_output=True, text=True)
    finally:
        planted.unlink()
    assert done.returncode != 0
    assert "planted" in done.stdout
