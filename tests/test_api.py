"""`import zoo`: light, complete, and functions where functions are promised."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys

import pytest

import zoo


def test_importing_zoo_imports_no_module_of_it():
    code = "import sys; import zoo; print(sorted(m for m in sys.modules if m.startswith('zoo')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['zoo']"


@pytest.mark.parametrize("name", ["load", "create", "save", "list_models", "show", "train", "evaluate", "push", "pull"])
def test_verbs_are_functions(name):
    assert inspect.isfunction(getattr(zoo, name))


def test_no_module_bears_a_public_name():
    # Importing `zoo.train`, were there such a module, would replace the function `zoo.train`.
    modules = {module.name for module in pkgutil.iter_modules(zoo.__path__)}
    assert "training" in modules and modules & set(zoo.__all__) == set()


def test_every_public_name_is_there_and_listed():
    for name in zoo.__all__:
        assert getattr(zoo, name) is not None
    assert set(zoo.__all__) <= set(dir(zoo)) and "__version__" in dir(zoo)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'zoo' has no attribute 'laod'"):
        zoo.laod  # noqa: B018
