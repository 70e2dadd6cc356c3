"""What the documentation says is what the cards say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


def test_tables_are_those_of_the_cards():
    done = subprocess.run([sys.executable, "docs/make_tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_command_the_readme_shows_exists():
    shown = set(re.findall(r"^zoo (\w+)", (ROOT / "README.md").read_text(), flags=re.M))
    assert shown
    assert shown <= set(COMMANDS)


PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path):
    text = (ROOT / path).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / path).parent / target).exists(), target
