"""The site builds without a warning, and every local link on it leads somewhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_links_to_pages_from_above_hold_on_the_site():
    moved = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["moved"]
    assert moved("[a](../README.md) [b](hub.md#x)", up="../") == "[a](index.md) [b](hub.md#x)"
    assert moved("[a](../../CHANGELOG.md#new)", up="../") == "[a](../changelog.md#new)"
    assert moved("see [`a.py`](../../tests/a.py).", up="../") == "see `a.py`."
    assert moved("[a](CONTRIBUTING.md)") == "[a](contributing.md)"


@pytest.mark.slow
def test_the_site_builds_and_its_links_hold(tmp_path):
    pytest.importorskip("material", reason="needs the docs extra")
    command = [sys.executable, "docs/make_site.py", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    pages = [path for path in (tmp_path / "site").rglob("*.html") if path.name != "404.html"]
    assert {"index.html", "models.html", "guides/hub.html", "gallery/index.html"} <= {
        path.relative_to(tmp_path / "site").as_posix() for path in pages}
    broken = [f"{path.name}: {address}" for path in pages
              for address in re.findall(r"(?:href|src)=\"([^\"#?]+)", path.read_text())
              if not re.match(r"[a-z]+:", address) and not (path.parent / unquote(address)).exists()]
    assert broken == []
