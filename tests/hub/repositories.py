"""What a hub keeps: users, repositories, commits, large files. In memory, no network, no client of anyone's."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field

LARGE_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".png", ".npz", ".gz", ".zip")


class Refusal(Exception):
    """An answer other than the one asked for: a status, the machine-readable code, and a sentence."""

    def __init__(
        self, status: int, code: str | None, message: str, commit: str | None = None, location: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.commit, self.location = status, code, message, commit, location


@dataclass(frozen=True)
class User:
    name: str
    role: str = "write"
    organisations: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        return namespace == self.name or namespace in self.organisations


@dataclass(frozen=True)
class Blob:
    """One version of one file."""

    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git itself stores for a large file."""
        spec = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return spec.encode()

    @property
    def git_oid(self) -> str:
        stored = self.pointer if self.large else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_oid


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    files: dict[str, Blob]
    number: int

    @property
    def date(self) -> str:
        return f"2026-01-01T00:{self.number // 60 % 60:02d}:{self.number % 60:02d}.000Z"


@dataclass
class Repository:
    kind: str
    name: str
    private: bool = False
    gated: str | bool = False
    admitted: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.name.split("/")[0]

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def commit(self, changes: dict[str, Blob | None], title: str, branch: str = "main") -> Commit:
        """Add a commit to a branch; a change to None deletes the file, or the folder of that name."""
        parent = self.branches.get(branch)
        files = dict(self.commits[parent].files) if parent else {}
        for path, blob in changes.items():
            if blob is not None:
                files[path] = blob
            else:
                files = {p: b for p, b in files.items() if p != path and not p.startswith(path.rstrip("/") + "/")}
        tree = sorted((path, blob.git_oid) for path, blob in files.items())
        oid = hashlib.sha1(json.dumps([self.name, parent, title, tree, len(self.commits)]).encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, files, len(self.commits))
        self.branches[branch] = oid
        return self.commits[oid]

    def at(self, revision: str) -> Commit:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        if oid not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[oid]

    def history(self, revision: str) -> list[Commit]:
        found, oid = [], self.at(revision).oid
        while oid:
            found.append(self.commits[oid])
            oid = self.commits[oid].parent
        return found


class Hub:
    """The state behind the server, and what a test may look at or change directly."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.users: dict[str, User] = {
            "hf_writer": User("alice", "write", ("zoo-org",)),
            "hf_reader": User("alice", "read", ("zoo-org",)),
            "hf_stranger": User("mallory"),
        }
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.moved: dict[tuple[str, str], str] = {}
        self.large_files: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}

    def user(self, authorization: str | None) -> User | None:
        if not authorization:
            return None
        user = self.users.get(authorization.removeprefix("Bearer ").strip())
        if user is None:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return user

    def create(self, kind: str, name: str, private: bool = False) -> Repository:
        repository = Repository(kind, name, private)
        attributes = Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)
        repository.commit({".gitattributes": attributes}, "init")
        self.repositories[kind, name] = repository
        return repository

    def put(self, name: str, files: dict[str, bytes], kind: str = "models", title: str = "Add files") -> str:
        """Write files as their owner would; returns the commit. The short way to set a scene."""
        with self.lock:
            repository = self.repositories.get((kind, name)) or self.create(kind, name)
            return repository.commit({p: Blob(d, is_large(p, len(d), d)) for p, d in files.items()}, title).oid

    def there(self, name: str = "zoo-org/tiny") -> dict[str, bytes]:
        """The files of a model's repository as they are now."""
        files = self.repositories["models", name].head.files
        return {path: blob.data for path, blob in files.items() if path != ".gitattributes"}

    def readable(self, kind: str, name: str, user: User | None) -> Repository:
        """The repository, or the refusal its visitor gets: a private one looks like one that is not there."""
        repository = self.repositories.get((kind, name))
        hidden = repository is None or (repository.private and not (user and user.owns(repository.namespace)))
        if hidden:
            raise Refusal(404 if user else 401, "RepoNotFound", "Repository not found")
        return repository

    def writable(self, kind: str, name: str, user: User | None) -> Repository:
        repository = self.readable(kind, name, user)
        self.may_write(repository.namespace, user)
        return repository

    def may_write(self, namespace: str, user: User | None) -> None:
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        if user.role != "write":
            raise Refusal(403, None, "Forbidden: you must use a write token to upload to a repository.")
        if not user.owns(namespace):
            raise Refusal(403, None, f'You don\'t have the rights to create a model under the namespace "{namespace}"')

    def contents(self, repository: Repository, user: User | None) -> None:
        """Whether the bytes of a gated repository may be handed out."""
        if repository.gated and not (user and (user.owns(repository.namespace) or user.name in repository.admitted)):
            message = f"Access to model {repository.name} is restricted and you are not in the authorized list."
            raise Refusal(403 if user else 401, "GatedRepo", message)

    def file(self, repository: Repository, revision: str, path: str) -> tuple[Commit, Blob]:
        commit = repository.at(revision)
        if path not in commit.files:
            raise Refusal(404, "EntryNotFound", "Entry not found", commit.oid)
        return commit, commit.files[path]


def is_large(path: str, size: int, sample: bytes) -> bool:
    return path.endswith(LARGE_SUFFIXES) or size > 10 << 20 or b"\0" in sample[:512]
