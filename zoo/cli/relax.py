"""`zoo relax`: relaxation of structures, all in one batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Compile, Periodic
from zoo.files.strict_json import json_text
from zoo.process.progress import progress

if TYPE_CHECKING:
    import ase

    from zoo.model.model import Model

__all__ = ["relax"]


def relax(
    files: Annotated[list[Path], typer.Argument(help="Structure files of any format that ASE reads.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `zoo list`, a card folder, or "
                                                             "hf:org/repo[@rev].")],
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500,
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell as well.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Relaxed structures, .extxyz; "
                                                                       "FILE-relaxed.extxyz if absent.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    max_atoms: Annotated[int, typer.Option(help="Atoms per batch.")] = 4096,
    pbc: Periodic = True,
    compile: Compile = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Relax molecules or crystals with FIRE.

    Exit status 1 if a structure did not converge, 2 if one cannot be relaxed; it is named, the others are kept.
    """
    from zoo.cli import errors
    from zoo.errors import StructureError, of_structure
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.simulation import relax as run
    from zoo.structures.reading import read_structures, write_structures

    reads = list(read_structures(files, pbc=pbc))
    results: dict[int, ase.Atoms | StructureError] = {k: r.error for k, r in enumerate(reads) if r.error is not None}
    frames = {k: read.atoms for k, read in enumerate(reads) if read.atoms is not None}
    machine.keep_memory()
    field = load(model, device=device, dtype=dtype)
    screen = errors()
    with progress("relax", "converged", quiet=quiet, screen=screen) as report:
        results |= zip(frames, run(field, list(frames.values()), fmax=fmax, steps=steps, cell=cell,
                                   max_atoms=max_atoms, compile=compile, on_error="keep",
                                   progress=lambda done, of, force: report(
                                       done, of, f"largest force {force:.3f} eV/Å")))
    relaxed = {k: atoms for k in frames if not isinstance(atoms := results[k], StructureError)}
    if relaxed:
        output = output or files[0].with_name(f"{_stem(files[0])}-relaxed.extxyz")
        write_structures(output, list(relaxed.values()))
    failed = {reads[k].label: error for k, error in sorted(results.items()) if isinstance(error, StructureError)}
    rows = [_row(reads[k].label, frames[k], atoms) for k, atoms in relaxed.items()]
    if as_json:
        wrong = [{"structure": label, "error": str(error)} for label, error in failed.items()]
        typer.echo(json_text({"model": model, "fmax": fmax, "results": rows + wrong}))
    elif rows:
        _show(field, rows)
    if relaxed and not quiet:
        screen.print(f"wrote {len(relaxed)} structures to {output}", soft_wrap=True)
    lost = [row["structure"] for row in rows if not row["converged"]]
    if lost:
        screen.print(f"not converged: {', '.join(lost)}", style="red", soft_wrap=True)
    for label, error in failed.items():
        typer.secho(f"error: {of_structure(label, error)}", fg="red", err=True)
    if failed or lost:
        raise typer.Exit(2 if failed else 1)


def _stem(file: Path) -> str:
    """The name of a file without the endings of its format and its compression: ``conf_0.5.xyz.gz`` → ``conf_0.5``."""
    from ase.io.formats import extension2format, ioformats

    from zoo.files.unpack import COMPRESSED

    plain = file.with_suffix("") if file.suffix in COMPRESSED else file
    ending = plain.suffix[1:].lower()
    return plain.stem if ending in extension2format or ending in ioformats else plain.name


def _row(label: str, before: ase.Atoms, after: ase.Atoms) -> dict[str, Any]:
    import numpy as np

    moved = after.get_positions() - before.get_positions()
    row = {"structure": label, "formula": after.get_chemical_formula(), "energy_eV": after.get_potential_energy(),
           "fmax_eV_A": after.info["relax_fmax"], "steps": int(after.info["relax_steps"]),
           "converged": bool(after.info["relax_converged"]),
           "largest_move_A": float(np.linalg.norm(moved, axis=1).max())}
    return row | ({"volume_A3": float(after.get_volume())} if after.pbc.all() else {})


def _show(model: Model, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"relaxed with {model.card.name}" if model.card else "relaxed")
    for column in ("structure", "formula", "energy / eV", "largest force / eV/Å", "largest move / Å", "steps", ""):
        table.add_column(column, justify="left" if column in ("structure", "formula", "") else "right")
    for row in rows:
        table.add_row(row["structure"], row["formula"], f"{row['energy_eV']:.4f}", f"{row['fmax_eV_A']:.4f}",
                      f"{row['largest_move_A']:.3f}", str(row["steps"]), "" if row["converged"] else "not converged")
    console().print(table)
