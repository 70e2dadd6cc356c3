"""What a release needs: one version, a citation, and distributions that can be built from and uploaded."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == str(citation["version"]) == version("geometric-zoo")
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    elsewhere = [path for folder in ("zoo", "plugins") for path in (ROOT / folder).rglob("*.py")
                 if re.search(r"__version__\s*=\s*[\"']", path.read_text())]
    assert elsewhere == []


def test_the_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "abstract", "keywords", "license", "version",
            "date-released"} <= set(citation)
    assert citation["license"] == PROJECT["license"] and set(citation["keywords"]) == set(PROJECT["keywords"])
    assert all("name" in who or {"family-names", "given-names"} <= set(who)
               for work in (citation, *citation["references"]) for who in work["authors"])


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / ".github").rglob("*.yml")))
def test_files_for_github_run_what_there_is(path):
    content = yaml.safe_load((ROOT / path).read_text())
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    commands = [step["run"] for job in content.get("jobs", {}).values() for step in job["steps"] if "run" in step]
    assert {found for line in commands for found in re.findall(r"\bmake ([\w-]+)", line)} <= set(targets)
    if "/workflows/" in path:
        assert commands and content["permissions"]["contents"] == "read"
        assert all(job["timeout-minutes"] <= 120 for job in content["jobs"].values())


@pytest.mark.slow
def test_a_wheel_from_the_source_distribution_is_the_wheel(zoo_wheel, tmp_path):
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    names = [name for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    made = tmp_path / "made"
    made.mkdir()
    build = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, made], cwd=source, check=True, capture_output=True)
    (archive,) = made.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    assert {name for name in names if not name.startswith((".", "tests/"))} <= held
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", made, archive]
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = made.glob("*.whl")
    contents = [set(zipfile.ZipFile(path).namelist()) for path in (wheel, zoo_wheel)]
    assert contents[0] == contents[1]
    twine = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", archive, wheel], capture_output=True,
                           text=True)
    assert twine.returncode == 0, twine.stdout + twine.stderr


@pytest.mark.slow
def test_the_wheel_holds_packages_cards_and_nothing_else(zoo_wheel):
    allowed = re.compile(r"(zoo|zoo_plugins)/.+\.(py|yaml|safetensors|png|template|html|css|js|txt|xyz|json|csv|smi|md|"
                         r"npz|extxyz|gz)|zoo/py\.typed|zoo/data/(samples|splits)/.+|geometric_zoo-[^/]+\.dist-info/.+")
    assert [name for name in zipfile.ZipFile(zoo_wheel).namelist() if not allowed.fullmatch(name)] == []
