"""Models of the Hub by the names that its own libraries use."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zoo.errors import HubError
from zoo.files.user_paths import user_path
from zoo.hub.release import push
from zoo.loading.models import load, save
from zoo.model.model import Model

__all__ = ["from_pretrained", "push_to_hub"]


def from_pretrained(
    name: str | Path,
    *,
    revision: str | None = None,
    force_download: bool = False,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    **options: Any,
) -> Model:
    """A model from a card folder, or from ``organisation/name`` on the Hub; :func:`zoo.load` with the Hub's keywords.

    Args:
        name: a folder, ``organisation/name``, or a name of ``zoo.list_models()``.
        revision: commit, tag or branch of the repository.
        force_download, token, cache_dir, local_files_only: what the Hub's client is told by its environment; anything
            but the default is an error that names the variable. Damaged files are always downloaded again.
        **options: of :func:`zoo.load`, such as ``device`` and ``dtype``.

    Raises:
        HubError: a keyword that has no effect here, a revision of something that has none, or no such repository.
        others: as :func:`zoo.load`.
    """
    instead = {
        "force_download": (force_download, "run zoo cache prune"),
        "token": (token, "set HF_TOKEN"),
        "cache_dir": (cache_dir, "set HF_HUB_CACHE"),
        "local_files_only": (local_files_only, "set ZOO_OFFLINE=1"),
    }
    for key, (value, fix) in instead.items():
        if value not in (None, False):
            raise HubError(f"from_pretrained does not take {key}={'…' if key == 'token' else value!r}. Fix: {fix}.")
    text = str(name)
    is_repository = text.count("/") == 1 and not isinstance(name, Path) and not user_path(text).exists()
    if is_repository or text.startswith("hf:"):
        address = f"hf:{text.removeprefix('hf:')}"
        return load(f"{address}@{revision}" if revision else address, **options)
    if revision is not None:
        raise HubError(f"{text} has no revisions, and revision={revision!r} was asked for. "
                       "Fix: name a repository of the Hub, organisation/name.")
    return load(name, **options)


def push_to_hub(model: Model, repo_id: str, *, private: bool = False, tag: str | None = None,
                replace: bool = False) -> str:
    """Push a model as it is in memory: weights, card, error estimates; no plots, and no pin is recorded.

    ``zoo push FOLDER`` also sends what lies beside a card, and records the pin.

    Args:
        repo_id: ``organisation/name``; made if it does not exist.
        private: make the repository private when it is made.
        tag: of the commit.
        replace: overwrite changes of others.

    Returns:
        Its address at the new commit, ``hf:organisation/name@<commit>``, as :func:`zoo.load` takes it.

    Raises:
        HubError: refused, unreachable, or changed by somebody else.
    """
    with TemporaryDirectory() as made:
        folder = Path(made) / model.required_card.name
        save(model, folder)
        return f"hf:{push(folder, repo_id, private=private, tag=tag, replace=replace, record=False).pin}"
