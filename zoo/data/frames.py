"""ASE structures to and from a store; the caller gives property keys and units."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from zoo.data.store import Store
from zoo.errors import DataError, StructureError
from zoo.graph.cells import cells_and_pbc
from zoo.model.stress import why_no_stress
from zoo.structures.stated import check_statements
from zoo.units import canonical, dimension, factor

if TYPE_CHECKING:
    import ase

__all__ = ["available", "from_atoms", "stored_unit", "to_atoms"]

log = logging.getLogger(__name__)

_CANONICAL = {dimension(unit): unit for unit in ("eV", "eV/Å", "eV/Å^3")}
_PER_ATOM_RESULTS = ("forces", "energies", "stresses", "charges", "magmoms")
_FAR = 4096.0
"""Å: beyond it, neighboring float32 numbers are more than 2e-4 apart."""
_VOIGT = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]


def from_atoms(
    frames: Iterable[ase.Atoms],
    *,
    properties: Mapping[str, str],
    units: Mapping[str, str],
    optional: Iterable[str] = (),
    inputs: Iterable[str] = (),
    ids: Sequence[int] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Store:
    """A store of ASE structures with labels in the zoo's units: energies eV, forces eV/Å, stress eV/Å^3 (ASE's sign).

    Args:
        properties: label → key in ``atoms.info``, ``atoms.arrays`` or the results of ``atoms.calc``; ``arrays`` are
            per atom.
        units: label → unit of the data.
        optional: labels that a frame may lack (kept as NaN). A frame that is not periodic in three dimensions may
            always lack its ``stress``.
        inputs: of ``charge``, ``spin``, ``node_attrs``, ``node_vectors``, read from ``info`` and ``arrays``.
        ids: identities that survive reordering; by default the index in ``frames``.

    Raises:
        DataError: a property, unit or input is missing, not finite, or has another shape than in the first frame; a
            frame is far from the origin, states a charge or a spin that is not among the inputs, or has sites that are
            partly filled.
    """
    frames, inputs = list(frames), list(inputs)
    if not frames:
        raise DataError("no structures given: the file or list is empty. Fix: give at least one structure.")
    units = {label: _declared(label, units) for label in properties}
    optional = set(optional)
    if unknown := optional - set(properties):
        raise DataError(f"optional labels that are not among the properties: {', '.join(sorted(unknown))}. "
                        "Fix: add them to properties, or remove them from optional.")
    for index, atoms in enumerate(frames):
        if not len(atoms):
            raise DataError(f"frame {index} has no atoms. Fix: leave it out.")
        if not np.isfinite(atoms.positions).all():
            raise DataError(f"frame {index}: position of atom {int(np.argwhere(~np.isfinite(atoms.positions))[0, 0])} "
                            "is not finite. Fix: correct the frame or leave it out.")
        away = float(np.abs(atoms.positions).max())
        if away > _FAR:
            raise DataError(f"frame {index} is {away:,.0f} Å from the origin, where the float32 positions of training "
                            f"are {np.spacing(np.float32(away)):.1g} Å apart. Fix: move it to the origin, "
                            "atoms.positions -= atoms.positions.mean(0), or wrap it into its cell.")
        try:
            check_statements(atoms, inputs, f"frame {index}")
        except StructureError as error:
            raise DataError(str(error)) from None
    labels, per_atom = {}, set()
    for label, key in properties.items():
        values, atomic = _column(frames, label, key, units[label], label in optional)
        labels[label] = torch.from_numpy(values * _to_stored(units[label]))
        if atomic:
            per_atom.add(label)
    if ids is not None and len(ids) != len(frames):
        raise DataError(f"{len(ids)} ids for {len(frames)} frames. Fix: give one id for every frame.")
    return Store.from_tensors(
        torch.from_numpy(np.concatenate([atoms.numbers for atoms in frames]).astype(np.uint8)),
        torch.from_numpy(np.concatenate([np.asarray(atoms.positions, dtype=np.float64) for atoms in frames])),
        n_atoms=torch.tensor([len(atoms) for atoms in frames]),
        ids=None if ids is None else torch.as_tensor(ids),
        labels=labels,
        units={label: stored_unit(unit) for label, unit in units.items()},
        per_atom=frozenset(per_atom),
        meta=dict(meta or {}),
        **_cells(frames),
        **{name: torch.from_numpy(_input(frames, name)) for name in inputs},
    )


def to_atoms(store: Store, row: int) -> ase.Atoms:
    """One structure, with labels, optional inputs and the identity (``info["id"]``) in ``info`` and ``arrays``."""
    from ase import Atoms

    row = range(len(store))[row]
    part = store.subset([row]).to("cpu")
    atoms = Atoms(numbers=part.z.numpy().astype(int), positions=part.pos.double().numpy())
    if part.cell is not None and part.pbc is not None and bool(part.pbc.any()):
        atoms.set_cell(part.cell[0].double().numpy())
        atoms.set_pbc(part.pbc[0].numpy())
    atoms.info["id"] = int(part.ids[0])
    for name in ("charge", "spin"):
        if getattr(part, name) is not None:
            atoms.info[name] = float(getattr(part, name)[0])
    for name in ("node_attrs", "node_vectors"):
        if getattr(part, name) is not None:
            atoms.set_array(name, getattr(part, name).numpy())
    for name, value in part.labels.items():
        if name in part.per_atom:
            atoms.set_array(name, value.numpy())
        else:
            atoms.info[name] = float(value[0]) if value.dim() == 1 else value[0].numpy()
    return atoms


def stored_unit(unit: str) -> str:
    """The unit in which a label is stored: eV, eV/Å or eV/Å^3 if it can be converted, else the unit itself."""
    return _CANONICAL.get(dimension(unit), canonical(unit))


def _to_stored(unit: str) -> float:
    return factor(unit, stored_unit(unit))


def _declared(label: str, units: Mapping[str, str]) -> str:
    if label not in units:
        raise DataError(f"the unit of '{label}' is not given; a unit is never guessed. "
                        f"Fix: give units={{'{label}': 'eV'}}, or the unit that the data are in.")
    return canonical(units[label])


def _column(frames: list[ase.Atoms], label: str, key: str, unit: str, optional: bool) -> tuple[np.ndarray, bool]:
    """float64 values of one property over all frames, and whether it is per atom."""
    found = [_lookup(atoms, key) for atoms in frames]
    first, atomic = next(((index, entry[1]) for index, entry in enumerate(found) if entry is not None), (None, False))
    needed = [not (label == "stress" and not atoms.pbc.all()) for atoms in frames]
    lacking = [index for index, entry in enumerate(found) if entry is None]
    missing = next((index for index in lacking if needed[index]), lacking[0] if lacking else None)
    if missing is not None and (first is None or (needed[missing] and not optional)):
        raise DataError(f"frame {missing} has no '{key}' for the label '{label}'; it has {available(frames[missing])}. "
                        f"Fix: give its key in the file, properties={{'{label}': KEY}}, or leave the frame out.")
    stress = stored_unit(unit) == "eV/Å^3"
    values: list[np.ndarray | None] = []
    left_out: list[int] = []
    shape: tuple[int, ...] | None = None
    for index, (atoms, entry) in enumerate(zip(frames, found)):
        if entry is None:
            values.append(None)
            continue
        if label == "stress" and why_no_stress(atoms):
            left_out.append(index)
            values.append(None)
            continue
        value = _as_array(entry[0], index, key)
        if stress and not atomic:
            value = _full_stress(value, index, key)
        own = value.shape[1:] if atomic else value.shape
        shape = own if shape is None else shape
        if entry[1] != atomic or own != shape or (atomic and len(value) != len(atoms)):
            raise DataError(f"frame {index}: '{key}' has shape {value.shape}; in frame {first} it is "
                            f"{'per atom' if atomic else 'per structure'} with {shape or 'one number'}. "
                        "Fix: give all frames the same shape.")
        if np.isinf(value).any() or (np.isnan(value).any() and needed[index] and not optional):
            raise DataError(f"frame {index}: '{key}' is not finite. Fix: correct the frame or leave it out.")
        values.append(value)
    reason = why_no_stress(frames[left_out[0]]) if left_out else None
    if shape is None:
        raise DataError(f"no frame has a stress: {reason}")
    if left_out:
        log.warning("warning: the stress of %d frames is left out, such as frame %d: %s", len(left_out), left_out[0],
                    reason)
    filled = [np.full((len(atoms), *shape) if atomic else shape, np.nan) if value is None else value
              for atoms, value in zip(frames, values)]
    return (np.concatenate(filled) if atomic else np.stack(filled)), atomic


def _lookup(atoms: ase.Atoms, key: str) -> tuple[Any, bool] | None:
    """(value, is per atom) of a key, or None."""
    if key in atoms.arrays:
        return atoms.arrays[key], True
    if key in atoms.info:
        return atoms.info[key], False
    results = getattr(atoms.calc, "results", None) or {}
    if results.get(key) is not None:
        return results[key], key in _PER_ATOM_RESULTS
    return None


def available(atoms: ase.Atoms) -> str:
    """Keys that a structure has, for messages."""
    results = getattr(atoms.calc, "results", None) or {}
    places = {"info": atoms.info, "arrays": atoms.arrays, "calculator results": results}
    return "; ".join(f"{place}: {', '.join(map(str, keys)) or 'nothing'}" for place, keys in places.items())


def _as_array(value: Any, index: int, key: str) -> np.ndarray:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"frame {index}: '{key}' is {value!r}, not a number. "
                        f"Fix: correct this value in the file.") from error


def _full_stress(value: np.ndarray, index: int, key: str) -> np.ndarray:
    """(3, 3) from ASE's Voigt order xx, yy, zz, yz, xz, xy, from nine numbers, or as it is."""
    if value.shape == (6,):
        return value[_VOIGT]
    if value.size == 9:
        return value.reshape(3, 3)
    raise DataError(f"frame {index}: '{key}' has shape {value.shape}; a stress has 6 (Voigt) or 9 numbers. "
                        "Fix: store it in one of these two forms.")


def _cells(frames: list[ase.Atoms]) -> dict[str, torch.Tensor]:
    periodic = cells_and_pbc(frames)
    return {} if periodic is None else dict(zip(("cell", "pbc"), periodic))


def _input(frames: list[ase.Atoms], name: str) -> np.ndarray:
    """An optional input of the graph over all frames: ``charge`` and ``spin`` per structure, the others per atom."""
    per_atom = name in ("node_attrs", "node_vectors")
    if not per_atom and name not in ("charge", "spin"):
        raise DataError(f"'{name}' is no input that structures carry: charge, spin, node_attrs or node_vectors. "
                        "Fix: name one of these inputs.")
    values = []
    for index, atoms in enumerate(frames):
        holder = atoms.arrays if per_atom else atoms.info
        if name not in holder:
            raise DataError(f"frame {index} lacks the input '{name}'; it has {available(atoms)}. Fix: set atoms."
                            f"{'arrays' if per_atom else 'info'}['{name}'].")
        values.append(_as_array(holder[name], index, name))
    return np.concatenate(values) if per_atom else np.stack(values).reshape(len(frames))
