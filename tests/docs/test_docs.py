"""What the documentation says is what the cards say."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from zoo.cards.card import Card
from zoo.cli import COMMANDS, app

ROOT = Path(__file__).resolve().parents[2]


def test_tables_are_those_of_the_cards():
    done = subprocess.run([sys.executable, "docs/make_tables.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_tables_tell_what_was_measured_of_crystals_and_molecules(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "docs" / "make_tables.py")
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert "scan" in tables.scan_table() and "|" not in tables.scan_table()
    bond = {"rises": [0.55, 1.6], "hole": False}
    found = {"phonons": {"structure": "Si2", "points": {"Γ": {"THz": [-0.001, 0.0, 0.0, 15.104, 15.105, 15.106]}},
                         "finite_displacement": {"largest_difference_THz": 0.00086}},
             "scan": {"bonds": {"C-H": bond, "H-O": bond | {"hole": True}},
                      "turns": [{"bond": "C-C", "highest_eV": 2.345, "hole": True}]}}
    card = Card.load(ROOT / "cards" / "painn-acac")
    card.replace(stability=found).save(tmp_path / "cards" / "one")
    other = {"scan": {"bonds": {"C-C": bond}, "turns": []}}
    card.replace(name="schnet-ethanol", stability=other).save(tmp_path / "cards" / "two")
    card.replace(name="dimenet-acac", stability=other).save(tmp_path / "cards" / "six")
    assert tables.crystal_table().splitlines()[2:] == [
        "| `painn-acac` | Si2 | – | – | 0.00 · 15.10 | – | – | 0.0009 |"]
    assert tables.scan_table().splitlines()[0] == "| model | C-C | C-H | H-O | highest turn, eV | holes |"
    assert tables.scan_table().splitlines()[2:] == [
        "| `dimenet-acac` | 0.55–1.6 | – | – | – | none |",
        "| `painn-acac` | – | 0.55–1.6 | 0.55–1.6 | 2.3 | H-O, turned C-C |",
        "| `schnet-ethanol` | 0.55–1.6 | – | – | – | none |"]


def test_every_command_the_readme_shows_exists():
    shown = set(re.findall(r"^zoo (\w+)", (ROOT / "README.md").read_text(), flags=re.M))
    assert shown
    assert shown <= set(COMMANDS)


def commands_of(path: Path) -> list[str]:
    """Lines of code on a page that begin with ``zoo``, those that a backslash continues in one."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", path.read_text(), flags=re.M | re.S)
    text = "\n".join(blocks).replace("\\\n", " ")
    return [shlex.join(shlex.split(line, comments=True)) for line in re.findall(r"^ *(zoo \w.*)", text, flags=re.M)]


SHOWN = sorted({line for page in ("README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")))
                for line in commands_of(ROOT / page)})


@pytest.mark.parametrize("line", SHOWN)
def test_commands_on_the_pages_have_the_options_that_are_shown(line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    context = command.make_context("zoo", [], resilient_parsing=True)
    while hasattr(command, "get_command"):
        command = command.get_command(context, words.pop(0))
        assert command is not None
        context = command.make_context("zoo", [], parent=context, resilient_parsing=True)
    context.resilient_parsing = False
    _, left, _ = command.make_parser(context).parse_args(words)
    assert left == []


def test_an_option_that_does_not_exist_is_seen():
    with pytest.raises(Exception, match="--no-such"):
        test_commands_on_the_pages_have_the_options_that_are_shown("zoo list --no-such")


PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path):
    text = (ROOT / path).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / path).parent / target).exists(), target
