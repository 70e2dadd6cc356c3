"""Open a data set by its name, from a folder, or from any file that ASE reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.files import HEADER
from zoo.data.frames import available, from_atoms
from zoo.data.store import Store
from zoo.errors import DataError, StructureError, UnknownNameError
from zoo.structures.formats import frames_of

if TYPE_CHECKING:
    from zoo.plugin import DatasetSpec

__all__ = ["open_dataset", "open_frames"]


def open_dataset(
    what: str | Path | DatasetSpec,
    *,
    path: str | Path | None = None,
    properties: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    optional: Iterable[str] = (),
    inputs: Iterable[str] = (),
) -> Store:
    """Open a data set.

    Args:
        what: name of a data set that a plugin offers, its spec, the folder of a saved store, a file of structures, or
            ``"hf:organisation/name@commit"``, a saved store on the Hub.
            A name takes precedence over a folder of the same name: write ``./qm9`` for the folder.
        path: folder or file of a named data set, if it is not in the default place.
        properties, units, optional, inputs: for a file of structures, as in :func:`zoo.data.frames.from_atoms`.

    Raises:
        UnknownNameError: neither a data set nor anything on disk.
        DataError: the file cannot be read, or properties or units are not given.
    """
    from zoo.plugin import DatasetSpec
    from zoo.registry import host

    if isinstance(what, DatasetSpec):
        return _from_spec(what, path)
    if isinstance(what, str) and what.startswith("hf:"):
        from zoo.hub.datasets import fetch_data

        return Store.load(fetch_data(what))
    if isinstance(what, str) and what in host.datasets():
        return _from_spec(host.dataset(what), path)
    place = Path(what)
    if place.is_dir():
        if not (place / HEADER).is_file():
            raise DataError(f"{place} is a folder but no saved store: there is no {HEADER} in it. "
                        f"Fix: give the file of "
                            "structures, or a data set's name")
        return Store.load(place)
    if place.is_file():
        return open_frames(place, properties=properties, units=units, optional=optional, inputs=inputs)
    if isinstance(what, Path) or len(place.parts) > 1:
        raise DataError(f"{what} does not exist. Fix: check the path.")
    try:
        spec = host.dataset(what)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}\n  nor is there a file or folder '{what}' here. "
                        f"Fix: correct the name or the path.") from error
    return _from_spec(spec, path)


def open_frames(
    file: Path,
    *,
    properties: Mapping[str, str] | None,
    units: Mapping[str, str] | None,
    optional: Iterable[str] = (),
    inputs: Iterable[str] = (),
) -> Store:
    """All structures of a file that ASE reads; identities are their indices in it.

    Raises:
        DataError: a structure cannot be read or is refused by :func:`zoo.data.frames.from_atoms`, or properties or
            units are not given; names the file and the frame.
    """
    frames = []
    for item in frames_of(file):
        if isinstance(item, StructureError):
            raise DataError(str(item))
        frames.append(item)
    if not properties:
        has = available(frames[0]) if frames else "no structures"
        raise DataError(f"it is not given which properties of {file} are labels and in which units; its first "
                        f"structure has {has}. "
                        f"Fix: name them, such as properties="
                        f"{{'energy': 'energy'}}, units={{'energy': 'eV'}}.")
    try:
        return from_atoms(frames, properties=properties, units=units or {}, optional=optional, inputs=inputs,
                          meta={"name": file.name, "source": f"file {file.name}"})
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _from_spec(spec: DatasetSpec, path: str | Path | None) -> Store:
    from zoo.registry import host

    factory = host.resolve(spec.factory, f"data set '{spec.name}'")
    store = factory(None if path is None else Path(path))
    if not isinstance(store, Store):
        raise DataError(f"data set '{spec.name}': {spec.factory} gave {type(store).__name__}, not a Store. "
                        "Fix: return a zoo.data.store.Store from it.")
    return store
