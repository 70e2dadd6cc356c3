"""Writes a complete package for a new architecture from templates: start with :func:`new_package`. Torch-free."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from zoo.errors import ZooError
from zoo.registry.families import FAMILIES

__all__ = ["NewPackage", "new_package"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


class NewPackage:
    """The names derived from one name: ``my-model`` gives ``zoo-my-model``, ``zoo_my_model`` and ``MyModel``.

    Raises:
        ZooError: the name is not lower-case words joined by hyphens, or is taken.
    """

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise ZooError(f"'{name}' cannot name an architecture. Fix: use lower-case letters and digits, words "
                           "joined by hyphens, such as my-model")
        if name in FAMILIES:
            raise ZooError(f"'{name}' is a built-in architecture. Fix: choose another name")
        self.name = name
        self.distribution = name if name.startswith("zoo-") else f"zoo-{name}"
        self.package = self.distribution.replace("-", "_")
        self.class_name = "".join(word.capitalize() for word in name.split("-"))

    def fill(self, text: str) -> str:
        """A template, or the path of one, with the names filled in."""
        for token, value in (("__distribution__", self.distribution), ("__package__", self.package),
                             ("__class__", self.class_name), ("__name__", self.name)):
            text = text.replace(token, value)
        return text


def new_package(name: str, parent: str | Path = ".") -> Path:
    """Write the package into a new folder of ``parent``, named like the distribution; returns the folder.

    Raises:
        ZooError: the name is not allowed, or the folder exists.
    """
    names = NewPackage(name)
    folder = Path(parent) / names.distribution
    if folder.exists():
        raise ZooError(f"{folder} already exists. Fix: choose another name, or another parent folder with --in")
    for path, template in _templates(files("zoo.scaffold").joinpath("template"), ""):
        # Templates of hidden files have no dot in their name, because build tools skip hidden files.
        place = re.sub(r"(^|/)dot-", r"\1.", names.fill(path).removesuffix(_SUFFIX))
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(names.fill(template.read_text(encoding="utf-8")), encoding="utf-8")
    return folder


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            found += _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((prefix + entry.name, entry))
    return found
