"""Other people's registries: a file on this machine, or a repository of the Hub at a commit.

A registry on the Hub is copied with its cards to ``$ZOO_HOME/registries``, so that listing needs no network. Weights
are not copied: each model has its own pin.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import CardError, HubError, UnknownNameError
from zoo.files.user_paths import user_path
from zoo.files.yaml_loader import MAX_BYTES
from zoo.files.zoo_home import home
from zoo.hub.address import PREFIX, Address, safe_path
from zoo.hub.fetching import fetch_file, inside_cache, pin
from zoo.hub.trouble import AccessError
from zoo.registry import sources
from zoo.registry.registry_file import REGISTRY_FILE, Include, RegistryFile, read_registry, write_include

__all__ = ["Added", "add", "remove"]


@dataclass(frozen=True)
class Added:
    """A registry that was added.

    Attributes:
        names: the models it lists.
        conflicts: names that mean another model already, with the reason; they are left out of ``zoo list``.
    """

    source: str
    path: Path
    names: tuple[str, ...]
    conflicts: dict[str, str]


def add(source: str) -> Added:
    """Add a registry to the user's own; adding it again replaces the earlier copy.

    Args:
        source: a ``registry.yaml``, a folder with one, or ``"hf:organisation/name[@revision]"``, which is pinned.

    Raises:
        CardError: it is not a registry.
        HubError: it cannot be fetched.
    """
    if source.startswith(PREFIX):
        address = pin(Address.parse(source), REGISTRY_FILE)
        path = _copy(address)
        include = Include(path=path.relative_to(home()).as_posix(), hub=address.pin)
        write_include(sources.user_registry(), include, lambda i: i.hub is not None and _repo(i) == address.repo)
    else:
        path = _file(source)
        read_registry(path)
        write_include(sources.user_registry(), Include(path=str(path)), lambda i: i.path == str(path))
    names = tuple(read_registry(path).models)
    conflicts = sources.read_all().conflicts()
    return Added(source, path, names, {name: conflicts[name] for name in names if name in conflicts})


def remove(source: str) -> None:
    """Remove a registry from the user's own.

    Raises:
        UnknownNameError: it was not added.
    """
    repo = Address.parse(source).repo if source.startswith(PREFIX) else None
    path = str(_file(source, missing_ok=True))
    known = [origin for _, origin in sources.included()]

    def matches(include: Include) -> bool:
        return _repo(include) == repo if repo is not None else include.path == path

    user = sources.user_registry()
    gone = [i for i in read_registry(user).include if matches(i)] if user.is_file() else []
    if not gone:
        raise UnknownNameError(f"no registry '{source}' was added; there are: {', '.join(known) or 'none'}. "
                               "Fix: zoo registry list shows them.")
    write_include(user, None, matches)
    for include in gone:
        if include.hub is not None:
            shutil.rmtree((home() / include.path).parent.parent, ignore_errors=True)


def _repo(include: Include) -> str | None:
    return include.hub.partition("@")[0] if include.hub is not None else None


def _file(source: str, missing_ok: bool = False) -> Path:
    path = user_path(source).resolve()
    path = path / REGISTRY_FILE if path.is_dir() else path
    if not missing_ok and not path.is_file():
        raise CardError(f"{path}: no such registry. "
                        "Fix: check the path; one on the Hub is written hf:organisation/name.")
    return path


def _copy(address: Address) -> Path:
    """Copy the registry of a repository and its cards into a folder, which appears by rename."""
    text = fetch_file(address, REGISTRY_FILE, inside_cache, most=MAX_BYTES)
    listed = read_registry(text)
    _check_pins(listed, address)
    folder = home() / "registries" / address.repo.replace("/", "--") / address.revision
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        shutil.copyfile(text, partial / REGISTRY_FILE)
        for card, _ in listed.models.values():
            if card is not None:
                _copy_card(address, text, card, partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(partial, folder)
    except OSError as error:
        raise HubError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / REGISTRY_FILE


def _check_pins(listed: RegistryFile, address: Address) -> None:
    bare = [name for name, (_, hub) in listed.models.items() if hub is None]
    if bare:
        raise CardError(f"{address}: pins no weights for {', '.join(bare)}. Fix: give each of its models 'hub: "
                        "organisation/name@commit'.")


def _copy_card(address: Address, text: Path, card: Path, folder: Path) -> None:
    """Copy a card of the registry; one that is not in this repository is in its model's own repository."""
    try:
        name = card.relative_to(text.parent).as_posix()
    except ValueError:
        raise CardError(f"{address}: the card {card} is outside the repository. Fix: move it inside.") from None
    safe_path(name, str(address))
    try:
        source = fetch_file(address, name, inside_cache, most=MAX_BYTES)
    except AccessError:
        return
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / name)
