"""Replay: structures labelled by the model that is fine-tuned, so that it keeps what the new data do not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np

from zoo.errors import DataError, StructureError, TrainingError
from zoo.inference.prediction import predict
from zoo.loading.models import load
from zoo.units import factor

__all__ = ["with_replay"]


def with_replay(source: str, file: Path, replay: Path, out: Path, *, device: str | None = None) -> Path:
    """Write the frames of ``file``, then those of ``replay`` with labels of the model ``source``.

    Energies of the replayed frames are moved to the zero of ``file`` by one energy per element, of least squared
    difference per atom between its labels and the model; elements that it does not have keep the model's zero. Replayed
    frames are marked by ``replay=True``.

    Args:
        file: frames with an energy in ASE's form. replay: any structures that the model can take; their labels, if they
            have some, are not used. out: .extxyz.

    Raises:
        DataError: a file cannot be read, or ``file`` has no energies in ASE's form.
        TrainingError: the model has no energy and forces.
        StructureError: a structure that the model cannot take.
    """
    import ase.io

    from zoo.files.atomic_writes import replacing

    model = load(source, device=device)
    target = model.energy_target
    if target is None or "forces" not in model.required_card.derivatives:
        raise TrainingError(f"{source} has no energy with forces, and so no labels for a replay. Fix: leave out "
                            "--replay")
    own, old = _frames(file), _frames(replay)
    bare = [atoms for atoms in own if "energy" not in _results(atoms)]
    if bare:
        raise DataError(f"{len(bare)} of {len(own)} frames of {file} have no energy in ASE's form, which --replay "
                        "needs. Fix: write them with a SinglePointCalculator, or leave out --replay")
    to_ev = factor(model.units[target], "eV")
    labels = np.array([_results(atoms)["energy"] for atoms in own])
    given = np.array([result[target] for result in predict(model, own)]) * to_ev
    counts = _composition(own, model.elements)
    atoms_of = counts.sum(1, keepdims=True)
    shift, *_ = np.linalg.lstsq(counts / atoms_of, (labels - given) / atoms_of[:, 0], rcond=None)
    stress = "stress" in model.required_card.derivatives and any("stress" in _results(atoms) for atoms in own)
    labelled = [_labelled(model, atoms, stress=stress) for atoms in old]
    for atoms, counted in zip(labelled, _composition(old, model.elements)):
        atoms.calc.results["energy"] += float(counted @ shift)
    with replacing(out) as staging:
        ase.io.write(staging, [*own, *labelled], format="extxyz")
    return out


def _labelled(model: Any, atoms: ase.Atoms, *, stress: bool) -> ase.Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    wanted = ["forces", "stress"] if stress and atoms.pbc.all() else ["forces"]
    found = predict(model, atoms, derivatives=wanted)
    plain = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={"replay": True})
    energy = found[model.energy_target] * factor(model.units[model.energy_target], "eV")
    results = {"energy": energy, "forces": found["forces"]}
    if "stress" in wanted:
        results["stress"] = full_3x3_to_voigt_6_stress(found["stress"])
    plain.calc = SinglePointCalculator(plain, **results)
    return plain


def _composition(frames: list[ase.Atoms], elements: tuple[int, ...]) -> np.ndarray:
    """(n, n_elements) atoms of each element."""
    return np.array([[np.count_nonzero(atoms.numbers == z) for z in elements] for atoms in frames], dtype=float)


def _frames(file: Path) -> list[ase.Atoms]:
    from zoo.structures.formats import frames_of

    if not file.is_file():
        raise DataError(f"there is no file {file}. Fix: give the path of a file of structures")
    frames = []
    for atoms in frames_of(file):
        if isinstance(atoms, StructureError):
            raise DataError(str(atoms))
        frames.append(atoms)
    if not frames:
        raise DataError(f"{file} holds no structures. Fix: give a file with at least one")
    return frames


def _results(atoms: ase.Atoms) -> dict[str, Any]:
    return getattr(atoms.calc, "results", None) or {}
