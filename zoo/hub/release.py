"""Publish one model, or every model of a source tree, and record their pins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.cards.card import Card
from zoo.errors import HubError, UnknownNameError
from zoo.files.user_paths import user_path
from zoo.hub.address import Address
from zoo.hub.pushing import Pushed, push_contents
from zoo.hub.repository import Contents, contents_of
from zoo.registry import names, pins
from zoo.registry.registry_file import parse_pin, read_registry, write_pins

__all__ = ["Release", "prepare", "publish", "push"]


@dataclass(frozen=True)
class Release:
    """A model that is ready to be pushed, or has been.

    Attributes:
        contents: its files.
        registry: the registry that records its pin.
        before: its pin until now.
        pushed: result of the push; ``None`` in a dry run.
    """

    card: Card
    repo: str
    contents: Contents
    registry: Path
    before: str | None
    pushed: Pushed | None = None

    @property
    def pin(self) -> str:
        """The new pin; before the push, the old one."""
        return self.pushed.address.pin if self.pushed is not None else self.before or ""


def push(
    model: str | Path,
    repo: str,
    *,
    private: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    replace: bool = False,
    record: bool = True,
) -> Release:
    """Push a model to ``organisation/name`` on the Hub and record its pin; repeating it changes nothing.

    Args:
        model: a name of ``zoo list``, or a card folder.
        private: make the repository private when it is created.
        tag: of the commit, such as ``"v1.0"``.
        dry_run: check everything on this machine, but push nothing.
        replace: overwrite changes of others since the recorded pin.
        record: write the new pin into the registry of the folder.

    Raises:
        HubError: refused, unreachable, changed by somebody else; or a file holds a token or a path of this machine.
        WeightsError, CardError: the hash of the weights is not that of the card, or the card cannot be read.
    """
    folder = _folder(model)
    ready = prepare(folder, repo, None if record else folder / "registry.yaml")
    if dry_run:
        return ready
    done = _push(ready, private=private, tag=tag, replace=replace)
    if record:
        pins.record_pin(folder, done.card.name, done.pin)
    return done


def publish(
    organisation: str,
    path: Path,
    *,
    names: list[str] | None = None,
    private: bool = False,
    tag: str | None = None,
    dry_run: bool = False,
    replace: bool = False,
) -> list[Release]:
    """Push every model of a registry to ``organisation/<name>``, then write all pins at once.

    All are checked before the first is pushed. After an interruption, call it again.

    Raises: as :func:`push`.
    """
    listed = read_registry(path).models
    for name in names or []:
        if name not in listed:
            raise UnknownNameError(f"{path} lists no '{name}': it lists {', '.join(listed)}. Fix: name one of these.")
    ready = [prepare(card.parent, f"{organisation}/{name}", path) for name, (card, _) in listed.items()
             if card is not None and card.is_file() and name in (names or listed)
             and (names or not _of_another_package(card))]
    if not ready:
        raise HubError(f"{path} lists no card folders to publish. Fix: add models with 'card:' to it.")
    if dry_run:
        return ready
    done = [_push(one, private=private, tag=tag, replace=replace) for one in ready]
    write_pins(path, {one.card.name: one.pin for one in done})
    return done


def prepare(folder: Path, repo: str, path: Path | None = None) -> Release:
    """Check a card folder and the registry of its pin, before anything is pushed."""
    card = Card.load(folder)
    address = Address.parse(repo)
    contents = contents_of(folder, card, address.repo)
    path = pins.registry_of(folder, card.name)[0] if path is None else path
    before = read_registry(path).models.get(card.name, (None, None))[1] if path.is_file() else None
    return Release(card, address.repo, contents, path, before)


def _push(one: Release, *, private: bool, tag: str | None, replace: bool) -> Release:
    pinned = None
    if one.before is not None:
        repo, commit = parse_pin(one.before)
        pinned = commit if repo == one.repo else None
    pushed = push_contents(one.contents, Address.parse(one.repo), title=_title(one.card, tag), private=private, tag=tag,
                           pinned=pinned, replace=replace)
    return Release(one.card, one.repo, one.contents, one.registry, one.before, pushed)


def _of_another_package(card: Path) -> bool:
    """Whether the weights are others' and not in the folder: only who asks for such a model by name publishes it."""
    found = Card.load(card)
    return found.source is not None and found.weights is None


def _title(card: Card, tag: str | None) -> str:
    return f"{card.name} {tag}" if tag else card.name


def _folder(model: str | Path) -> Path:
    path = user_path(model)
    if path.is_dir():
        return path
    entry = names.entry(str(model))
    if entry.card_path is None:
        raise HubError(f"'{model}' is on the Hub only, as {entry.hub}: there is nothing here to push. "
                       "Fix: zoo pull it first.")
    return entry.card_path.parent
