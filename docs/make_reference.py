"""Write docs/reference/ from the code: command line, Python interface, card, registry, hooks; `--check` only compares.

    python docs/make_reference.py [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import typer
from pydantic import BaseModel

import zoo
from zoo.cards.card import Card
from zoo.cli import COMMANDS, app
from zoo.engines import ipi, lammps, openmm
from zoo.files.markdown import markdown_table
from zoo.model.readouts import Readout
from zoo.plugin import Architecture, DatasetSpec, Importer, TrainingPart
from zoo.registry import hookspecs
from zoo.registry.registry_file import _Content

FOLDER = Path(__file__).with_name("reference")
_NOTE = "Made from the code by `make docs`.\n"


def main() -> int:
    stale = []
    for name, make in PAGES.items():
        path, new = FOLDER / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != new:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    for name in stale:
        print(f"docs/reference/{name}: "
              f"{'differs from the code. Fix: run make docs' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


# -- the command line -------------------------------------------------------------------------------------------


def cli() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(app)
    context = click.Context(group, info_name="zoo")
    parts = ["# Command line\n", _NOTE, "Every command takes `--help`. A mistake ends with exit status 2.\n"]
    for name in COMMANDS:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        for words, one in _commands(f"zoo {name}", command):
            parts += [f"## {words}\n", _text(one.help), *_parameters(one)]
    return _page(parts)


def _commands(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{words} {name}", inner)


def _parameters(command: Any) -> list[str]:
    rows = []
    for one in command.params:
        if "--help" in one.opts:
            continue
        is_argument = one.param_type_name == "argument"
        name = (one.metavar or one.name.upper()) if is_argument else ", ".join([*one.opts, *one.secondary_opts])
        rows.append([f"`{name}`", _cell(getattr(one, "help", None)), "" if is_argument else _default(one)])
    return [markdown_table(["argument or option", "", "default"], rows, "lll") + "\n"] if rows else []


def _default(option: Any) -> str:
    value = option.default
    if value is None or value is False or value == [] or callable(value) or getattr(option, "required", False):
        return ""
    return f"`{value}`" if not isinstance(value, tuple | list) else f"`{' '.join(map(str, value))}`"


# -- Python -----------------------------------------------------------------------------------------------------


def python() -> str:
    """Every name that `zoo` exports, the public methods of its classes, and what simulation programs need."""
    parts = ["# Python interface\n", _NOTE, "`import zoo` imports none of these; each is imported on first use.\n"]
    for name in sorted(zoo.__all__, key=str.lower):
        thing = getattr(zoo, name)
        parts += [f"## zoo.{name}\n", _code(_signature(name, thing)), _docstring(thing)]
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if not method.startswith("_") and inspect.isfunction(function) and inspect.getdoc(function):
                    parts += [f"### {name}.{method}\n", _code(_signature(method, function)), _docstring(function)]
    for function in (lammps.attach, openmm.make_force, ipi.run_client):
        name = f"{function.__module__}.{function.__name__}"
        parts += [f"## {name}\n", _code(_signature(name, function)), _docstring(function)]
    return _page(parts)


def _signature(name: str, thing: Any) -> str:
    if inspect.isclass(thing) and issubclass(thing, BaseModel | Exception):
        return name
    signature = inspect.signature(thing)
    # A default whose text holds an address in memory differs from run to run.
    parameters = [p.replace(annotation=_bare(p.annotation), default=_Bare("…") if re.search(r" at 0x|<factory>", repr(
        p.default)) else p.default) for p in signature.parameters.values()]
    bare = signature.replace(parameters=parameters, return_annotation=_bare(signature.return_annotation))
    text = f"{name}{bare}"
    if len(text) <= 100:
        return text
    parameters = [p for p in parameters if p.name != "self"]
    shown, kinds = [str(p) for p in parameters], [p.kind for p in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = text[text.rindex(")") + 1:]
    return "\n".join([f"{name}(", *(f"    {one}," for one in shown), f"){returned}"])


class _Bare(str):
    """Text that is its own ``repr``, so that annotations are shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _bare(annotation: Any) -> Any:
    return _Bare(annotation) if isinstance(annotation, str) else annotation


# -- the card and the registry ----------------------------------------------------------------------------------


def card() -> str:
    """Every key of `card.yaml`, section by section."""
    return _page(["# The card\n", _NOTE, "Keys of `card.yaml`. Unknown keys are errors, except those that begin with "
                  "`x-`.\n", *_sections("card.yaml", Card)])


def registry() -> str:
    """Every key of `registry.yaml`."""
    return _page(["# The registry\n", _NOTE, "Keys of `registry.yaml`: which models exist, where their cards are, and "
                  "at which commit their weights are pinned.\n", *_sections("registry.yaml", _Content)])


def _sections(title: str, first: type[BaseModel]) -> list[str]:
    parts, waiting, seen = [], [(title, first)], {first}
    while waiting:
        name, section = waiting.pop(0)
        parts.append(f"## {name}\n")
        if section.__doc__ and section is not first:
            parts.append(_text(inspect.cleandoc(section.__doc__)))
        hints = typing.get_type_hints(section)
        rows = []
        for key, field in section.model_fields.items():
            required = "required" if field.is_required() else ""
            default = "" if required or field.default_factory or field.default in (None, [], {}, "") else \
                f"`{field.default}`"
            rows.append([f"`{field.alias or key}`", _cell(_type(hints[key])), required or default,
                         _text(field.description).strip()])
            for inner in _inner(hints[key]):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append((inner.__name__.lstrip("_"), inner))
        parts.append(markdown_table(["key", "value", "default", "meaning"], rows, "llll") + "\n")
    return parts


def _inner(hint: Any) -> Iterator[type[BaseModel]]:
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint
    for one in typing.get_args(hint):
        yield from _inner(one)


def _type(hint: Any) -> str:
    """A type in words: ``list of Metric``, ``mapping of text to number``."""
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null",
             Any: "anything"}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in words:
        return words[hint]
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(one) for one in inner)
    if origin in (list, tuple):
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    return getattr(hint, "__name__", str(hint)).lstrip("_")


# -- hooks ------------------------------------------------------------------------------------------------------


def hooks() -> str:
    """Every hook with its contract."""
    parts = ["# Hooks\n", _NOTE, _text(inspect.getdoc(hookspecs)),
             "[Write a plugin](../guides/write-a-plugin.md) shows a complete package.\n"]
    for name in hookspecs.__all__:
        function = getattr(hookspecs, name)
        parts += [f"## {name}\n", _code(_signature(name, function)), _docstring(function)]
    for described in (Architecture, DatasetSpec, Importer, TrainingPart):
        name = described.__name__
        parts += [f"## zoo.plugin.{name}\n", _code(_signature(name, described)), _docstring(described)]
    parts += ["## zoo.model.readouts.Readout\n", "The base class of the readouts that `zoo_readouts` names.\n",
              _code(_signature("Readout", Readout)), _docstring(Readout)]
    for name in ("head_width", "basis_names", "basis", "forward", "physical", "standardise"):
        method = getattr(Readout, name)
        parts += [f"### Readout.{name}\n", _code(_signature(name, method)), _docstring(method)]
    return _page(parts)


# -- text -------------------------------------------------------------------------------------------------------


def _code(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```\n"


def _docstring(thing: Any) -> str:
    return _code(inspect.getdoc(thing) or "", "text")


def _text(text: str | None) -> str:
    """Prose of a docstring, its reStructuredText roles as code."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text or "").replace("``", "`") + "\n"


def _cell(text: str | None) -> str:
    return " ".join(_text(text).split())


def _page(parts: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in "\n".join(parts).splitlines())) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli, "python.md": python, "card.md": card, "registry.md": registry, "hooks.md": hooks}

if __name__ == "__main__":
    sys.exit(main())
