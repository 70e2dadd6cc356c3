"""Addresses on the Hub, ``hf:organisation/name@revision``: syntax only, no network."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from zoo.errors import HubError

__all__ = ["UNSAFE", "Address", "check_tag", "is_commit", "safe_path"]

PREFIX = "hf:"

# Formats that are code or may run code when they are opened. They are never downloaded, opened or pushed.
UNSAFE = {
    ".pt": "a pickle", ".pth": "a pickle", ".bin": "a pickle", ".ckpt": "a pickle", ".pkl": "a pickle",
    ".pickle": "a pickle", ".joblib": "a pickle", ".npy": "possibly a pickle", ".npz": "possibly a pickle",
    ".h5": "possibly code", ".keras": "possibly code", ".py": "code", ".so": "code", ".ipynb": "code",
    ".sh": "code", ".exe": "code", ".dll": "code", ".whl": "code",
}

_NAME = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9][\w./+-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = re.compile(r"[A-Za-z0-9_][\w.+ -]*")


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit id, which always means the same bytes."""
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True)
class Address:
    """A repository of the Hub at a revision.

    Attributes:
        repo: ``organisation/name``.
        revision: commit, tag or branch.
        kind: ``"model"`` or ``"dataset"``.
    """

    repo: str
    revision: str = "main"
    kind: str = "model"

    @classmethod
    def parse(cls, text: str, kind: str = "model") -> Address:
        """Read ``hf:org/name[@revision]``; the prefix is optional, as in the pins of a registry.

        Raises:
            HubError: not of this form.
        """
        repo, _, revision = text.removeprefix(PREFIX).partition("@")
        parts = repo.split("/")
        well_formed = len(parts) == 2 and all(_NAME.fullmatch(p) and "--" not in p and ".." not in p for p in parts)
        if not well_formed or repo.endswith(".git"):
            raise HubError(
                f"{text!r} does not name a repository of the Hub. Fix: write hf:organisation/name, "
                "or hf:organisation/name@revision with a tag, a branch or a commit."
            )
        if "@" in text and not _is_revision(revision):
            raise HubError(f"{text!r}: {revision!r} is not a revision. "
                           "Fix: use a tag, a branch or a 40-digit commit.")
        return cls(repo, revision or "main", kind)

    @property
    def pinned(self) -> bool:
        return is_commit(self.revision)

    @property
    def name(self) -> str:
        return self.repo.split("/")[1]

    @property
    def pin(self) -> str:
        """``org/name@commit``, as in a registry."""
        return f"{self.repo}@{self.revision}"

    def at(self, revision: str) -> Address:
        return replace(self, revision=revision)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}@{self.revision}"


def _is_revision(text: str) -> bool:
    return _REVISION.fullmatch(text) is not None and ".." not in text and "//" not in text


def check_tag(tag: str) -> None:
    """Refuse a name that no tag can have, or that would be read as a commit.

    Raises:
        HubError: says which names are possible.
    """
    if not _is_revision(tag) or is_commit(tag) or tag == "main" or tag.endswith(("/", ".", ".lock")):
        raise HubError(f"{tag!r} cannot be the name of a tag. Fix: use one such as v1.0: letters, digits, . _ - and /")


def safe_path(name: str, owner: str) -> str:
    """Check a file name from a card or a listing: it must stay inside its folder and be data; returns it.

    Raises:
        HubError: it is absolute, leaves the folder, is hidden, or has a format that is never opened.
    """
    parts = name.split("/")
    if not parts or not all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts):
        raise HubError(f"{owner}: {name!r} is not a plain file name inside the folder, and is refused. "
                       "Fix: report it to whoever published it.")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in UNSAFE:
        raise HubError(f"{owner}: {name!r} is {UNSAFE[suffix]}, which can run anything when opened; "
                       "only safetensors are read. Fix: ask its authors for safetensors.")
    return name
