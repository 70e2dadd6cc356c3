"""Push files to a repository of the Hub in one commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from zoo.errors import HubError
from zoo.hub.address import Address, check_tag
from zoo.hub.cache import check_etag
from zoo.hub.network import TRIES, api, ask, is_offline, patience, timeout, wait_before
from zoo.hub.notices import notify
from zoo.hub.repository import Contents, is_handwritten
from zoo.hub.trouble import AccessError, explain, is_passing, status_of

__all__ = ["Pushed", "push_contents"]

_ENOUGH = 60.0  # seconds after which a failing step is not tried again
_T = TypeVar("_T")


@dataclass(frozen=True)
class Pushed:
    """Result of a push.

    Attributes:
        address: the repository at its commit.
        changed: files that were written; empty if the repository had them all.
        kept: files of the repository that somebody wrote by hand, which were left as they are.
    """

    address: Address
    changed: tuple[str, ...]
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Remote:
    """A repository at present: its commit and the hash of every file."""

    commit: str
    hashes: Mapping[str, str]
    private: bool


def push_contents(
    contents: Contents,
    address: Address,
    *,
    title: str,
    private: bool = False,
    tag: str | None = None,
    pinned: str | None = None,
    replace: bool = False,
) -> Pushed:
    """Make the repository hold these files: one commit, or none if it holds them already; then the tag.

    After no answer, 429 or 5xx the whole push is tried again; files already written are not written twice.

    Args:
        pinned: the last known commit; changes to these files since then are reported, not overwritten.
        replace: overwrite such changes.

    Raises:
        HubError: refused, unreachable, changed by somebody else, public where private was asked for, or a tag that
            means another commit.
    """
    if is_offline():
        raise HubError(f"{address.repo}: offline (ZOO_OFFLINE or HF_HUB_OFFLINE is set), and a push needs the network. "
                       "Fix: unset it.")
    if tag is not None:
        check_tag(tag)
    first = _state_or_new(address, private)
    if private and not first.private:
        raise HubError(f"{address.repo} is public already, and --private was asked for: nothing was pushed\n"
                       "  Fix: make it private in its settings, or push without --private")
    tags = {} if tag is None else ask(lambda: _tags(address), address, "looking at the tags of")
    kept = _handwritten(contents, address, first)
    wanted = {path: contents.read(path) for path in contents.files if path not in kept}
    if pinned is not None and pinned != first.commit and not replace:
        _check_not_moved(wanted, address, first, pinned)

    if tag in tags and (_changed(wanted, first) or tags[tag] != first.commit):
        raise HubError(f"{address.repo}: the tag {tag!r} means commit {tags[tag]}, and this push would make another; "
                       "nothing was pushed\n  Fix: choose another tag; one that moves helps nobody")

    def attempt() -> tuple[str, tuple[str, ...]]:
        now = _state(address)
        changed = _changed(wanted, now)
        if not changed:
            return now.commit, ()
        if now.commit != first.commit:
            raise _stale(address, first.commit, now.commit)
        return _commit(contents, changed, address, title, now.commit), changed

    commit, changed = _whole(attempt, address, "pushing to")
    at = address.at(commit)
    if tag is not None:
        _whole(lambda: _tag(at, tag), at, f"tagging {tag!r} on")
    return Pushed(at, changed, tuple(kept))


def _whole(action: Callable[[], _T], address: Address, doing: str) -> _T:
    """Repeat an action while that may help; doing it twice must be harmless."""
    started = time.monotonic()
    for attempt in range(1, TRIES + 1):
        try:
            with patience():
                return action()
        except HubError:
            raise
        except Exception as error:
            if status_of(error) == 412:
                raise _stale(address, "the one seen", "another") from error
            if attempt == TRIES or not _may_pass(error) or time.monotonic() - started > _ENOUGH:
                raise explain(error, address, doing, writing=True) from error
            notify(f"zoo: {doing} {address.repo}: {type(error).__name__}; trying again")
            wait_before(attempt, error)
    raise AssertionError("unreachable")


def _may_pass(error: Exception) -> bool:
    # The client wraps the error of the upload of a large file.
    return is_passing(error) or (isinstance(error, RuntimeError) and (error.__cause__ is None
                                                                      or is_passing(error.__cause__)))


def _state_or_new(address: Address, private: bool) -> _Remote:
    # Looked up first: creating a repository needs rights that writing to an existing one does not.
    try:
        return _state(address)
    except AccessError as error:
        if "RepositoryNotFoundError" not in {type(e).__name__ for e in (error.__cause__, error)}:
            raise
    _whole(lambda: api().create_repo(address.repo, repo_type=address.kind, private=private, exist_ok=True), address,
           "creating")
    return _state(address)


def _state(address: Address) -> _Remote:
    def question() -> Any:
        return api().repo_info(address.repo, repo_type=address.kind, timeout=timeout(), files_metadata=True)

    info = ask(question, address, "looking at")
    hashes = {s.rfilename: s.lfs.sha256 if s.lfs else s.blob_id for s in info.siblings or []}
    return _Remote(info.sha, hashes, bool(info.private))


def _changed(wanted: Mapping[str, bytes], state: _Remote) -> tuple[str, ...]:
    return tuple(path for path, data in wanted.items() if not _same(data, state.hashes.get(path)))


def _same(data: bytes, hash: str | None) -> bool:
    if hash is None:
        return False
    if len(hash) == 64:
        return hashlib.sha256(data).hexdigest() == hash
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == hash


def _handwritten(contents: Contents, address: Address, state: _Remote) -> list[str]:
    """``README.md``, if the repository has one that somebody wrote by hand."""
    if "README.md" not in state.hashes or _same(contents.read("README.md"), state.hashes["README.md"]):
        return []
    from zoo.hub.fetching import fetch_file

    there = fetch_file(address.at(state.commit), "README.md", lambda path: check_etag(path, state.hashes["README.md"]))
    return ["README.md"] if is_handwritten(there.read_text(encoding="utf-8", errors="replace")) else []


def _check_not_moved(wanted: Mapping[str, bytes], address: Address, now: _Remote, pinned: str) -> None:
    """Refuse to overwrite files that have changed on the Hub since the known commit."""
    def question() -> Any:
        return api().repo_info(address.repo, repo_type=address.kind, revision=pinned, timeout=timeout(),
                               files_metadata=True)

    then = {s.rfilename: s.lfs.sha256 if s.lfs else s.blob_id for s in ask(question, address, "looking at").siblings}
    moved = [p for p in _changed(wanted, now) if now.hashes.get(p) != then.get(p) and p != "README.md"]
    if moved:
        raise HubError(f"{address.repo}: {', '.join(moved)} changed there since the pinned commit {pinned}; the "
                       f"repository is now at {now.commit}. Nothing was overwritten\n"
                       f"  Fix: look at hf:{address.repo}@{now.commit}, then push with --replace")


def _stale(address: Address, seen: str, now: str) -> HubError:
    return HubError(f"{address.repo}: somebody else pushed at the same time (from commit {seen} to {now}); nothing was "
                    "overwritten\n  Fix: look at what changed there, then push again")


def _commit(contents: Contents, changed: tuple[str, ...], address: Address, title: str, parent: str) -> str:
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(path, contents.files[path]) for path in changed]
    made = api().create_commit(address.repo, operations, repo_type=address.kind, commit_message=title,
                               parent_commit=parent)
    return made.oid


def _tags(address: Address) -> dict[str, str]:
    """The commit of every tag."""
    refs = api().list_repo_refs(address.repo, repo_type=address.kind)
    return {ref.name: ref.target_commit for ref in refs.tags}


def _tag(address: Address, tag: str) -> None:
    known = _tags(address)
    if tag not in known:
        api().create_tag(address.repo, repo_type=address.kind, tag=tag, revision=address.revision, exist_ok=True)
    elif known[tag] != address.revision:
        raise HubError(f"{address.repo}: the tag {tag!r} means commit {known[tag]}, and this push made "
                       f"{address.revision}\n  Fix: choose another tag; one that moves helps nobody")
