"""What the documentation says is what the cards say."""

from __future__ import annotations

import ast
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


SHOWN = sorted({line for page in ("README.md", *(p.relative_to(ROOT) for p in (ROOT / "docs").rglob("*.md")))
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


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
         *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", PAGES)
def test_links_lead_somewhere(path):
    prose = re.sub(r"```.*?```", "", (ROOT / path).read_text(), flags=re.S)  # a SMILES in code looks like a link
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
        assert ((ROOT / path).parent / target).exists(), target


def test_every_page_is_reached_from_the_readme():
    waiting, seen = [ROOT / "README.md"], set()
    while waiting:
        page = waiting.pop()
        if page in seen or not page.is_file():
            continue
        seen.add(page)
        waiting += [(page.parent / target).resolve()
                    for target in re.findall(r"\]\((?!https?:)([^)#]+\.md)", page.read_text())]
    assert {ROOT / path for path in PAGES} <= seen


def test_the_reference_is_that_of_the_code():
    command = [sys.executable, "docs/make_reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_glossary_fits_one_screen_and_is_in_order():
    lines = (ROOT / "docs" / "glossary.md").read_text().splitlines()
    assert len(lines) <= 45
    words = [line.split("|")[1].strip().lower() for line in lines if line.startswith("| ")][1:]
    assert words == sorted(words)


def test_every_room_has_one_row_and_says_where_to_start():
    rooms = {path.parent.name: ast.get_docstring(ast.parse(path.read_text())) or ""
             for path in (ROOT / "zoo").glob("*/__init__.py")}
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \| (.+) \|$", page, flags=re.M)
    assert sorted(name for name, _ in rows) == sorted(rooms)
    for name, text in rows:
        assert len(text) > 20, name
    for name, text in rooms.items():
        assert re.search(r"\b[Ss]tart\b", text), f"zoo/{name}/__init__.py does not say where to start reading"


GUIDES = sorted(path.name for path in (ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("name", GUIDES)
def test_guides_are_short(name):
    assert len((ROOT / "docs" / "guides" / name).read_text().splitlines()) <= 150
