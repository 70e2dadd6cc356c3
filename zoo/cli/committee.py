"""`zoo predict --models A,B,C`: mean and spread of several models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo.errors import StructureError, ZooError

if TYPE_CHECKING:
    import ase

    from zoo.inference.model_spread import Agreement

__all__ = ["predict_with"]


def predict_with(names: str, files: list[Path], *, pbc: bool, as_json: bool, output: Path | None, device: str | None,
                 dtype: str, quiet: bool) -> None:
    """Print mean and spread for every structure of the files; exit status 2 if one cannot be predicted."""
    from zoo.inference.model_spread import REFERENCE, committee
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.structures.reading import read_structures

    chosen = [part.strip() for part in names.split(",") if part.strip()]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ZooError(f"--models {names!r}: expected two or more different models. Fix: write --models "
                       "nequix-oam-1,nequix-mp-1")
    if not files:
        raise StructureError("nothing to predict. Fix: name structure files")
    if output is not None and output.suffix not in (".extxyz", ".xyz"):
        raise ZooError(f"--output {output}: with --models, only extended XYZ is written. Fix: name a .extxyz file")
    machine.keep_memory()
    models = [load(name, device=device, dtype=dtype) for name in chosen]
    reads = list(read_structures(files, pbc=pbc))
    frames = {k: read.atoms for k, read in enumerate(reads) if read.atoms is not None}
    results: dict[int, Any] = {k: read.error for k, read in enumerate(reads) if read.error is not None}
    results |= zip(frames, committee(models, list(frames.values()), on_error="keep"))
    good = {reads[k].label: (frames[k], found) for k, found in sorted(results.items())
            if not isinstance(found, ZooError)}
    failed = {reads[k].label: found for k, found in sorted(results.items()) if isinstance(found, ZooError)}
    if as_json:
        from zoo.files.strict_json import json_text

        wrong = [{"structure": label, "error": str(error)} for label, error in failed.items()]
        typer.echo(json_text({"models": chosen, "reference": REFERENCE,
                              "results": [_row(label, *pair, chosen) for label, pair in good.items()] + wrong}))
    elif good:
        _print(good, chosen)
    if output is not None and good:
        from zoo.structures.reading import write_structures

        write_structures(output, [_labelled(*pair) for pair in good.values()])
    for label, error in failed.items():
        typer.secho(f"error: {label}: {error}", fg="red", err=True)
    if not quiet:
        typer.echo(f"formation energies are relative to the {REFERENCE}", err=True)
        typer.echo("± is the standard deviation between the models, not an error bar: models trained on the same data "
                   "share their errors", err=True)
        if output is not None and good:
            typer.echo(f"wrote {len(good)} structures to {output}", err=True)
    if failed:
        raise typer.Exit(2)


def _row(label: str, atoms: ase.Atoms, found: Agreement, names: list[str]) -> dict[str, Any]:
    formation = None if found.formation is None else {
        "mean": found.formation_mean, "spread": found.formation_spread, **dict(zip(names, found.formation.tolist()))}
    row = {"structure": label, "formula": atoms.get_chemical_formula(), "formation_energy_eV_per_atom": formation,
           "forces_eV_A": found.forces.tolist(), "forces_spread_eV_A": found.forces_spread.tolist(),
           "stress_eV_A3": None if found.stress is None else found.stress.tolist(),
           "stress_spread_eV_A3": found.stress_spread}
    return row | ({} if found.without_formation is None else {"without_formation": found.without_formation})


def _print(results: dict[str, tuple[ase.Atoms, Agreement]], names: list[str]) -> None:
    import numpy as np
    from ase.units import GPa
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"mean ± standard deviation of {', '.join(names)}")
    for column in ("structure", "formula", "formation energy / eV per atom", "rms force / eV/Å", "largest ± of a force",
                   "pressure / GPa", "± of stress / GPa"):
        table.add_column(column, justify="left" if column in ("structure", "formula") else "right")
    for label, (atoms, found) in results.items():
        energy = "–" if found.formation is None else f"{found.formation_mean:.3f} ± {found.formation_spread:.3f}"
        size = float(np.sqrt(np.square(found.forces).sum(1).mean()))
        stress = ("–", "–") if found.stress is None or found.stress_spread is None else (
            f"{-np.trace(found.stress) / 3 / GPa:.2f}", f"{found.stress_spread / GPa:.2f}")
        table.add_row(label, atoms.get_chemical_formula(), energy, f"{size:.3f} ± {found.rms_forces_spread:.3f}",
                      f"{found.forces_spread.max():.3f}", *stress)
    console().print(table)
    for label, (_, found) in results.items():
        if found.without_formation is not None:
            typer.echo(f"{label}: no formation energy: {found.without_formation}", err=True)


def _labelled(atoms: ase.Atoms, found: Agreement) -> ase.Atoms:
    """The structure with the mean forces and stress as results, and spreads next to them."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress

    labelled = atoms.copy()
    results: dict[str, Any] = {"forces": found.forces}
    if found.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(found.stress)
        labelled.info["stress_spread"] = found.stress_spread
    if found.formation is not None:
        labelled.info |= {"formation_energy_per_atom": found.formation_mean,
                          "formation_energy_per_atom_spread": found.formation_spread}
    labelled.arrays["forces_spread"] = found.forces_spread
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled
