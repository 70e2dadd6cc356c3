"""The words of the package: errors that say how to fix what they found, one spelling, one class a name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import zoo.errors

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for folder in ("zoo", "plugins") for path in sorted((ROOT / folder).glob("**/*.py"))]
ERRORS = {name for name, value in vars(zoo.errors).items() if isinstance(value, type) and issubclass(value, Exception)}
# It writes its own sentence: pip install with the extra's name.
ERRORS -= {"MissingExtraError"}
# Reasons that stand inside a longer message, which says how to fix it.
INNER = ("zoo/hub/cache.py", "zoo/hub/housekeeping.py", "zoo/hub/urls.py")


def trees():
    for path in FILES:
        yield path.relative_to(ROOT), ast.parse(path.read_text())


def text_of(node: ast.expr) -> str:
    """The literal parts of a message: of strings, f-strings, sums and joins; names and calls as a placeholder."""
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return " ".join(part for part in parts if isinstance(part, str))


def test_every_error_says_how_to_fix_it():
    silent = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS):
                continue
            # A message that is made elsewhere (a name, a call) is looked at where it is made.
            literal = [a for a in node.args if isinstance(a, ast.Constant | ast.JoinedStr | ast.BinOp)]
            if str(path) not in INNER and literal and "Fix: " not in text_of(literal[0]) and not passes_on(literal[0]):
                silent.append(f"{path}:{node.lineno}")
    assert silent == []


def passes_on(message: ast.expr) -> bool:
    """Whether a message ends in another error, which says it."""
    if not isinstance(message, ast.JoinedStr) or not isinstance(message.values[-1], ast.FormattedValue):
        return False
    return bool(re.search(r"error|reason|chain|fix|problem|explain", ast.unparse(message.values[-1].value), re.I))


def test_no_two_classes_have_one_name():
    homes = defaultdict(list)
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_neighbor_has_one_spelling_in_names():
    british = []
    for path, tree in trees():
        names = {getattr(node, "id", None) or getattr(node, "name", None) or getattr(node, "attr", None)
                 or getattr(node, "arg", None) for node in ast.walk(tree)}
        british += [f"{path}: {name}" for name in names if isinstance(name, str) and "neighbour" in name.lower()]
    # A name in stored weights.
    assert set(british) == {"plugins/dimenet/model.py: from_neighbour"}


def test_every_module_says_what_it_is_for():
    assert [str(path) for path, tree in trees() if not ast.get_docstring(tree) and path.name != "__main__.py"] == []
