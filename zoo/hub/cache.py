"""The cache of the Hub client: its files, their hashes, and the last known commit of a branch.

The zoo itself stores only which files have been verified, so that large ones are hashed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import HubError, WeightsError
from zoo.files.atomic_writes import write_text
from zoo.files.zoo_home import home
from zoo.hub.address import Address

__all__ = ["CachedRepository", "Verdicts", "cache_folder", "check_etag", "discard", "etag_of", "repositories"]

_FOLDER = {"model": "models", "dataset": "datasets"}


def cache_folder() -> Path:
    """Where the client keeps files: ``HF_HUB_CACHE``, else under ``HF_HOME``."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


@dataclass(frozen=True)
class CachedRepository:
    """One repository's part of the cache: ``blobs``, ``snapshots/<commit>`` and ``refs/<branch>``."""

    repo: str
    kind: str
    folder: Path

    @classmethod
    def of(cls, address: Address) -> CachedRepository:
        name = "--".join([_FOLDER[address.kind], *address.repo.split("/")])
        return cls(address.repo, address.kind, cache_folder() / name)

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def commits(self) -> list[str]:
        return sorted(p.name for p in self.snapshot("x").parent.glob("*") if re.fullmatch("[0-9a-f]{40}", p.name))

    def file(self, commit: str, name: str) -> Path | None:
        """A file of a commit, if it is there; no request is made."""
        path = self.snapshot(commit).joinpath(*name.split("/"))
        return path if path.is_file() else None

    def commit_of(self, revision: str) -> str | None:
        """The commit of a branch or tag when it was last requested."""
        try:
            commit = self.folder.joinpath("refs", *revision.split("/")).read_text().strip()
        except OSError:
            return None
        return commit if re.fullmatch("[0-9a-f]{40}", commit) else None

    def remember(self, revision: str, commit: str) -> None:
        """Store the commit of a branch or tag, as the client does; does nothing if the cache cannot be written."""
        if revision == commit or self.commit_of(revision) == commit:
            return
        with contextlib.suppress(OSError):
            write_text(self.folder.joinpath("refs", *revision.split("/")), commit)

    def unfinished(self) -> list[Path]:
        """Remains of interrupted downloads."""
        return sorted(self.folder.glob("blobs/*.incomplete"))


def repositories() -> Iterator[CachedRepository]:
    """Every repository in the cache, of the zoo or not."""
    for kind, prefix in _FOLDER.items():
        for folder in sorted(cache_folder().glob(f"{prefix}--*--*")):
            yield CachedRepository("/".join(folder.name.split("--")[1:]), kind, folder)


def etag_of(path: Path) -> str | None:
    """The hash that the Hub gave for a cached file: the name of its blob; ``None`` where links are not used."""
    if not path.is_symlink():
        return None
    name = Path(os.readlink(path)).name  # one step only: the blob itself may be a link into a store shared by all
    return name if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name) else None


def check_etag(path: Path, etag: str, size: int | None = None) -> None:
    """Compare a file with the hash and the size that the Hub gave for it.

    Raises:
        WeightsError: hash or size differ.
    """
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise WeightsError(f"{path}: expected {size} bytes, found {found_size}")
    if re.fullmatch("[0-9a-f]{64}", etag):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", etag):
        digest = hashlib.sha1(b"blob %d\0" % found_size, usedforsecurity=False)
    else:
        return
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != etag:
        raise WeightsError(f"{path}: expected {digest.name} {etag}, found {digest.hexdigest()}")


def discard(path: Path) -> None:
    """Delete a damaged file and its blob from the cache, so that it is downloaded again.

    Raises:
        HubError: the cache cannot be written.
    """
    cache, step = cache_folder().resolve(), path
    try:
        while step.parent.resolve().is_relative_to(cache) and (step.is_symlink() or step.exists()):
            target = step.parent / os.readlink(step) if step.is_symlink() else None
            step.unlink()
            if target is None:
                break
            step = target
    except OSError as error:
        raise HubError(f"{path} is damaged and cannot be removed ({error.strerror})\n"
                       "  Fix: remove it, or set HF_HOME to a folder of your own") from None


class Verdicts:
    """Stores the sha256 of files by size, times and inode; a file that was touched is hashed again.

    If the file of verdicts cannot be read or written, everything is hashed every time.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / "verified.json"

    def knows(self, file: Path, sha256: str) -> bool:
        return self._read().get(str(file.resolve())) == [*_stamp(file), sha256]

    def note(self, file: Path, sha256: str) -> None:
        known = {name: stamp for name, stamp in self._read().items() if Path(name).exists()}
        known[str(file.resolve())] = [*_stamp(file), sha256]
        with contextlib.suppress(OSError):
            write_text(self.path, json.dumps(known, indent=1))

    def _read(self) -> dict[str, list]:
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _stamp(file: Path) -> tuple[int, int, int, int]:
    # A program cannot set the change time, so wrong bytes with an old modification time are noticed.
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
