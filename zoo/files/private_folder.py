"""Folders whose content is run: nobody but their owner may have written there."""

from __future__ import annotations

import logging
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from zoo.errors import ZooError

__all__ = ["is_own_file", "private_folder"]

log = logging.getLogger("zoo")

_OTHERS_WRITE, _OTHERS = 0o022, 0o077


def private_folder(path: Path) -> Path:
    """A folder of this user with mode 0700, made if it is missing.

    One that others could write to is emptied first, since nothing in it can be trusted. On systems without owners and
    modes of files, such as Windows, the folder is only made.

    Raises:
        ZooError: it belongs to another user, or is a link or a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if os.name != "posix":
        return path
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ZooError(f"{path} is not a folder of this user, and what lies in it would be run. "
                       "Fix: remove it, or set ZOO_HOME to a folder of your own.")
    if found.st_mode & _OTHERS:
        path.chmod(0o700)
    if found.st_mode & _OTHERS_WRITE:
        log.warning("%s could be written by other users: its content is removed", path)
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    return path


def is_own_file(path: Path) -> bool:
    """Whether a path is a plain file of this user, with one name, that others cannot write to."""
    try:
        found = path.lstat()
    except OSError:
        return False
    if os.name != "posix":
        return stat.S_ISREG(found.st_mode)
    return (stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
            and not found.st_mode & _OTHERS_WRITE)
