"""One ``registry.yaml``: model names, the paths of their cards, and the commits of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from zoo.cards.card import CARD_FILE
from zoo.cards.section import Section, explain
from zoo.cards.values import Name
from zoo.errors import CardError, ZooError
from zoo.files.atomic_writes import write_text
from zoo.files.locks import locked
from zoo.files.user_paths import user_path
from zoo.files.yaml_loader import Document, load_yaml, parse_yaml
from zoo.files.yaml_writer import dump_yaml

__all__ = ["REGISTRY_FILE", "Include", "RegistryFile", "parse_pin", "read_registry", "write_include",
           "write_pin", "write_pins"]

REGISTRY_FILE = "registry.yaml"
SCHEMA = 1
LOCK_SECONDS = 30

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)@([0-9a-f]{40})")


def parse_pin(pin: str) -> tuple[str, str]:
    """``"org/repo@<40-hex commit>"`` as (repository, commit).

    Raises:
        CardError: not of this form; a branch or tag is no pin.
    """
    match = _PIN.fullmatch(pin)
    if match is None:
        raise CardError(f"'{pin}' is no pin. "
                        "Fix: write 'org/repo@<commit>' with all 40 hexadecimal digits of the commit.")
    return match[1], match[2]


def _checked_pin(pin: str) -> str:
    try:
        parse_pin(pin)
    except CardError as error:
        raise ValueError(str(error)) from None
    return pin


class _Listing(Section):
    card: str | None = Field(None, description="Path of the card, relative to this file.")
    hub: Annotated[str, AfterValidator(_checked_pin)] | None = Field(
        None, description="Repository and commit of the weights, as `org/repo@commit`.")

    @model_validator(mode="after")
    def _somewhere(self) -> _Listing:
        if self.card is None and self.hub is None:
            raise ValueError("needs a card (its path), a hub pin, or both")
        return self


class Include(Section):
    """Another registry that counts as part of this one."""

    path: str = Field(description="Path of the other registry.")
    hub: Annotated[str, AfterValidator(_checked_pin)] | None = Field(
        None, description="Repository and commit that it was taken from.")


class _Content(Section):
    schema_version: int = Field(alias="schema", description="Version of this schema.")
    models: dict[Name, _Listing] = Field({}, description="Models by name.")
    aliases: dict[Name, Name] = Field({}, description="Other names of models.")
    include: list[Include] = Field([], description="Further registries; read in the user's own registry only.")


@dataclass(frozen=True)
class RegistryFile:
    """A registry as read.

    Attributes:
        path: the file.
        models: (card file or None, pin or None) by name.
        aliases: other names of models.
        document: text and line numbers.
        include: further registries; used in the user's registry only.
    """

    path: Path
    models: Mapping[str, tuple[Path | None, str | None]]
    aliases: Mapping[str, str]
    document: Document
    include: tuple[Include, ...] = ()


def read_registry(path: Path) -> RegistryFile:
    """Read and check a registry.

    Raises:
        CardError: unreadable, malformed (with line), or of a newer schema.
    """
    return _checked(load_yaml(path), path)


def _checked(document: Document, path: Path) -> RegistryFile:
    data = document.data
    if not isinstance(data, dict):
        raise CardError(f"{path}: is no registry. Fix: give it the keys 'schema: {SCHEMA}', 'models: …', 'aliases: …'.")
    version = data.get("schema")
    if type(version) is int and version > SCHEMA:
        raise CardError(f"{document.where('schema')}: written for schema {version}, this zoo knows up to {SCHEMA}. "
                        f"Fix: pip install -U geometric-zoo.")
    try:
        content = _Content.model_validate(data)
    except ValidationError as error:
        raise CardError(explain(error, document)) from None
    models = {name: (None if listing.card is None else _card_file(path.parent, listing.card, document, name),
                     listing.hub) for name, listing in content.models.items()}
    for number, include in enumerate(content.include):
        _user_path(include.path, document, "include", number, "path")
    return RegistryFile(path, models, content.aliases, document, tuple(content.include))


def _card_file(folder: Path, card: str, document: Document, name: str) -> Path:
    """A card may be named by its file or by its folder."""
    path = folder / _user_path(card, document, "models", name, "card")
    return path if path.suffix in (".yaml", ".yml") else path / CARD_FILE


def _user_path(text: str, document: Document, *place: str | int) -> Path:
    try:
        return user_path(text)
    except ZooError as error:
        raise CardError(f"{document.where(*place)}: {error}") from None


def write_pin(path: Path, name: str, pin: str, *, card: str | None = None) -> None:
    """Record the pin of a model's weights in a registry; creates the file if necessary.

    Other entries stay as they are and, if possible, comments too. Writers wait for each other, and the file
    changes by rename.

    Args:
        card: path of the card, relative to the registry; by default the present one is kept.

    Raises:
        CardError: not a pin, or the registry is malformed.
    """
    write_pins(path, {name: pin}, cards={} if card is None else {name: card})


def write_pins(path: Path, pins: Mapping[str, str], *, cards: Mapping[str, str] | None = None) -> None:
    """Record several pins, all or none. See :func:`write_pin`."""
    for pin in pins.values():
        parse_pin(pin)
    path = path.resolve()
    with locked(path, seconds=LOCK_SECONDS, error=CardError):
        document = load_yaml(path) if path.is_file() else Document({"schema": SCHEMA}, source=str(path))
        _checked(document, path)
        for name, pin in pins.items():
            document = parse_yaml(_with_pin(document, path, name, pin, (cards or {}).get(name)), str(path))
        write_text(path, document.text)


def write_include(path: Path, add: Include | None, remove: Callable[[Include], bool]) -> None:
    """Remove includes from a registry and add one; creates the file if necessary. Locks as :func:`write_pin`.

    Raises:
        CardError: the registry is malformed.
    """
    path = path.resolve()
    with locked(path, seconds=LOCK_SECONDS, error=CardError):
        document = load_yaml(path) if path.is_file() else Document({"schema": SCHEMA}, source=str(path))
        kept = [i for i in _checked(document, path).include if not remove(i)]
        included = [i.model_dump(exclude_none=True) for i in [*kept, *([] if add is None else [add])]]
        data = {key: value for key, value in document.data.items() if key != "include"}
        write_text(path, _head(document.text) + dump_yaml({**data, **({"include": included} if included else {})}))


def _with_pin(document: Document, path: Path, name: str, pin: str, card: str | None) -> str:
    """Text of the registry with the entry changed: only its lines if possible, else all written again."""
    models = dict(document.data.get("models") or {})
    entry = {**models.get(name, {}), **({} if card is None else {"card": card}), "hub": pin}
    wanted = {**document.data, "models": {**models, name: entry}}
    new_lines = dump_yaml({"models": {name: entry}}).splitlines()[1:]
    for text in (_spliced(document, name, new_lines), _head(document.text) + dump_yaml(wanted)):
        if text is None:
            continue
        try:
            result = parse_yaml(text, str(path))
            if result.data == wanted:
                _checked(result, path)
                return text
        except CardError:
            if text.endswith(dump_yaml(wanted)):
                raise
    raise CardError(f"{path}: cannot be changed. Fix: add 'hub: {pin}' to '{name}' by hand.")


def _spliced(document: Document, name: str, new_lines: list[str]) -> str | None:
    """The text with one entry's lines replaced, or added after the last entry."""
    lines, old = document.lines, document.text.splitlines()

    def span(*place: str) -> tuple[int, int]:
        inside = [line for key, line in lines.items() if key[:len(place)] == place]
        return (min(inside) - 1, max(inside)) if inside else (0, 0)

    first, last = span("models", name)
    if not last:
        last = span("models")[1]
        first = last
        if last <= lines.get(("models",), 0):
            return None
    return "".join(f"{line}\n" for line in [*old[:first], *new_lines, *old[last:]])


def _head(text: str) -> str:
    """Comments above the first key."""
    kept: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            break
        kept.append(f"{line}\n")
    return "".join(kept)


