"""A file inside an installed package, found by the package's metadata: nothing of the package is imported."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from zoo.errors import WeightsError

__all__ = ["file_of_package", "installed_version"]


def installed_version(name: str) -> str | None:
    """Version of an installed package; ``None`` if there is none."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def file_of_package(name: str, versions: str, path: str, install: str) -> Path:
    """Where a file of a package lies on this machine.

    Args:
        name, versions: the package and the versions that will do, such as ``">=0.13,<0.14"``.
        path: of the file, relative to where packages are installed, with ``/``.
        install: the command that brings the package, for errors.

    Raises:
        WeightsError: the package is not installed, of another version, or lacks the file.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise WeightsError(f"the package {name} is not installed. Fix: {install}") from None
    if not _is_one_of(found.version, versions):
        raise WeightsError(f"{name} {found.version} is installed, and the weights are those of {name}{versions}. "
                           f"Fix: {install}")
    file = _locate(found, path)
    if file is None:
        raise WeightsError(f"{name} {found.version} is installed and has no file {path}. "
                           f"Fix: {install.replace('pip install', 'pip install --force-reinstall', 1)}")
    return file


def _is_one_of(version: str, versions: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except InvalidSpecifier as error:
        raise WeightsError(f"'{versions}' in the card's source is no range of versions: {error}. "
                           "Fix: write one such as >=0.13,<0.14.") from None


def _locate(found: Distribution, path: str) -> Path | None:
    direct = Path(str(found.locate_file(path)))
    if direct.is_file():
        return direct
    # An editable install lists its files elsewhere, if at all.
    listed = (Path(str(entry.locate())) for entry in found.files or () if entry.as_posix().endswith(path))
    return next((file for file in listed if file.is_file()), None)
