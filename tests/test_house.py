"""The house rules that no type checker knows: who imports whom, no pickles, no heavy import for a light word."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
AUTHORING = {"zoo.plugin", "zoo.graph", "zoo.nn"}


def imports_of(source: str) -> set[str]:
    """Names of all modules that a file imports, wherever the statement stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
            if node.module == "zoo":
                names |= {f"zoo.{alias.name}" for alias in node.names}
    return names


def trespasses(source: str, family: str) -> list[str]:
    """Imports that a plugin may not have."""
    found = []
    for name in imports_of(source):
        top = ".".join(name.split(".")[:2])
        if name == "zoo" or (name.startswith("zoo.") and top not in AUTHORING):
            found.append(name)
        if name.startswith("zoo_plugins") and not name.startswith(f"zoo_plugins.{family}"):
            found.append(name)
        if name.split(".")[0] in ("plugins", "cards"):
            found.append(name)
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/**/*.py")), ids=lambda p: "/".join(p.parts[-2:]))
def test_a_plugin_uses_only_the_authoring_surface(path):
    assert trespasses(path.read_text(), path.relative_to(ROOT / "plugins").parts[0]) == []


@pytest.mark.parametrize("planted", [
    "from zoo.model.model import Model", "import zoo", "from zoo import host", "def f():\n    import zoo.cards.card",
    "from zoo_plugins.painn.model import PaiNN", "import plugins.schnet",
])
def test_a_trespassing_import_is_seen(planted):
    assert trespasses(planted, "schnet")


def test_nothing_opens_a_pickle_with_code_in_it():
    offences = []
    for path in [*ROOT.glob("zoo/**/*.py"), *ROOT.glob("plugins/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "pickle.loads"):
                safe = any(k.arg == "weights_only" and getattr(k.value, "value", None) is True for k in node.keywords)
                if not (ast.unparse(node.func) == "torch.load" and safe):
                    offences.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert offences == []


def test_every_extra_that_an_error_names_can_be_installed():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        node.args[1].value
        for path in ROOT.glob("zoo/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "MissingExtraError"
    }
    assert {"frames", "qm9", "smiles"} <= named <= set(extras)


def test_no_squeeze_without_a_dimension():
    # `.squeeze()` takes away a batch of one as well.
    offences = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("zoo", "plugins")
        for path in ROOT.glob(f"{folder}/**/*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"\.squeeze\(\s*\)", line)
    ]
    assert offences == []


@pytest.mark.parametrize("tool", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_linters_find_nothing(tool):
    pytest.importorskip(tool[0])
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("statement", ["import zoo", "import zoo.plugin, zoo.registry.names, zoo.cards.card"])
def test_describing_imports_nothing_heavy(statement):
    heavy = ("torch", "e3nn", "torch_geometric", "huggingface_hub", "ase")
    code = f"{statement}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_zoo_changes_nothing_global():
    code = (
        "import torch, warnings, scipy.special, ase.build, ase.io;"
        "before = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),"
        " torch.backends.cuda.matmul.allow_tf32, list(warnings.filters), torch.get_rng_state().sum().item());"
        "import zoo, zoo.training, zoo.data; zoo.create('schnet', preset='small', cutoff=3.0);"
        "after = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads(),"
        " torch.backends.cuda.matmul.allow_tf32, list(warnings.filters));"
        "assert before[:-1] == after, (before, after); x = torch.tensor([1e-40]) * 1.0; assert x.item() != 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("room", sorted(p.parent.name for p in ROOT.glob("zoo/*/__init__.py")))
def test_no_exported_name_is_also_the_name_of_a_module(room):
    # Importing the module would put it in the place of the function.
    folder = ROOT / "zoo" / room
    modules = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    assert set(getattr(import_module(f"zoo.{room}"), "__all__", ())) & modules == set()
