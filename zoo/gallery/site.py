"""The folder of the gallery: a list, a page for each model, their pictures, one style sheet and one script."""

from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from zoo.errors import ZooError
from zoo.files.atomic_writes import write_text
from zoo.gallery.items import Item, all_items, groups

__all__ = ["write_gallery"]

_MARK = "made-by-zoo-gallery.txt"
_ASSETS = ("gallery.css", "gallery.js")


def write_gallery(out: Path) -> tuple[int, list[str]]:
    """Write the gallery of all models of all registries into a folder; an earlier gallery there is replaced.

    The pages need no server and no network: ``index.html`` opens from the disk.

    Returns:
        The number of models, and why others were left out.

    Raises:
        ZooError: the folder holds something else than an earlier gallery.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARK).is_file())):
        raise ZooError(f"{out} holds something else than a gallery. Fix: name a folder that is new or empty.")
    items, problems = all_items()
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / _MARK, "zoo gallery writes this folder anew.\n")
    models = out / "models"
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir()
    pages = files("zoo.gallery").joinpath("pages")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: pages.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"json": _json, "number": _number, "thousands": lambda value: f"{value:,}"}
    for name in _ASSETS:
        write_text(out / name, pages.joinpath(name).read_text(encoding="utf-8"))
    listed = environment.get_template("list.html")
    write_text(out / "index.html", listed.render(
        root="", groups=list(groups(items)), items=items, choices=_choices(items), count=len(items)))
    page = environment.get_template("model.html")
    for item in items:
        picture = item.picture()
        if picture is not None:
            (models / f"{item.name}.png").write_bytes(picture)
        write_text(models / f"{item.name}.html", page.render(
            root="../", item=item, card=item.card, picture=picture is not None, structure=item.structure()))
    return len(items), problems


def _choices(items: list[Item]) -> dict[str, list[str]]:
    """What the filters offer."""
    return {
        "property": list(dict.fromkeys(name for item in items for name in item.units)),
        "family": sorted({item.card.architecture for item in items}),
        "license": sorted({item.card.license for item in items if item.card.license}),
        "origin": sorted({item.origin for item in items}),
    }


def _json(value: Any) -> str:
    """For an attribute, where the template escapes it; never inside a script."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
