"""Finds what to check: architectures and models by name, package or folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

from zoo.conformance.subject import Subject
from zoo.errors import PluginError, UnknownNameError, WeightsError, ZooError, did_you_mean
from zoo.files.user_paths import user_path
from zoo.loading.resolution import CardFolder, resolve
from zoo.registry import host
from zoo.registry.names import list_models, show

__all__ = ["find", "find_all"]


def find(name: str | Path) -> list[Subject]:
    """Subjects of an architecture, a model, a package, or a folder (of a card, or of a plugin's source).

    Raises:
        UnknownNameError: the name is none of these.
        PluginError: the package offers no architecture, because it failed or is not installed.
    """
    text = str(name)
    known = host.architectures()
    if text in known:
        return [_of_architecture(text)]
    folder = user_path(text)
    if (folder / "pyproject.toml").is_file() and not (folder / "card.yaml").is_file():
        return _of_package(_distribution(folder), source=folder)
    packages = {record.dist for record in host.plugins()} | {record.name for record in host.plugins()}
    if text in packages:
        return _of_package(text)
    try:
        return [_of_model(resolve(text))]
    except UnknownNameError as error:
        near = did_you_mean(text, [*known, *packages], n=3)
        raise UnknownNameError(f"nothing to check is called '{text}'{near}\n{error}\nFix: give the name of an "
                               "architecture, a trained model or a package with a plugin, or a folder") from None


def find_all() -> tuple[list[Subject], dict[str, str]]:
    """All architectures and all models with weights, and the reason for each model that is left out."""
    subjects, left_out = [_of_architecture(name) for name in host.architectures()], {}
    for name in list_models():
        try:
            if show(name).source is not None:
                raise WeightsError(f"its weights are another package's. Fix: zoo check {name} checks it alone")
            subjects.append(_of_model(resolve(name)))
        except ZooError as error:
            left_out[name] = str(error)
    return subjects, left_out


def _of_architecture(name: str) -> Subject:
    return Subject(name, host.architecture(name), host.provider(name))


def _of_model(found: CardFolder) -> Subject:
    card = found.card
    described = host.architecture(card.architecture, package=card.requires.plugin)
    return Subject(card.name, described, host.provider(card.architecture), found)


def _of_package(name: str, source: Path | None = None) -> list[Subject]:
    records = [r for r in host.plugins() if name in (r.dist, r.name)]
    if not records and source is not None:
        raise PluginError(f"'{name}' is not installed, so there is nothing to check. Fix: pip install -e {source}")
    offered = [a for record in records for a in record.offers.get("architectures", ())]
    usable = [_of_architecture(a) for a in offered if a in host.architectures()]
    if not usable:
        errors = "; ".join(r.error for r in records if r.error) or "it offers no architecture"
        raise PluginError(f"{name}: {errors}. Fix: correct the package; zoo plugins shows what it offers")
    return usable


def _distribution(folder: Path) -> str:
    data = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    name = data.get("project", {}).get("name")
    if name is None:
        raise PluginError(f"{folder / 'pyproject.toml'} has no [project] name. Fix: add one")
    return str(name)
