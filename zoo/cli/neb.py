"""`zoo neb`: the reaction path between two minima."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.options import Compile, Periodic
from zoo.files.strict_json import json_text
from zoo.process.progress import progress

if TYPE_CHECKING:
    import ase

    from zoo.simulation import ReactionPath

__all__ = ["neb"]


def neb(
    start: Annotated[Path, typer.Argument(help="Structure at one end.")],
    end: Annotated[Path, typer.Argument(help="Structure at the other end: the same atoms in the same order.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `zoo list`, a card folder, or "
                                                             "hf:org/repo[@rev].")],
    images: Annotated[int, typer.Option(min=3, help="Number of images, with the ends.")] = 9,
    climb: Annotated[bool, typer.Option(help="Let the highest image climb to the saddle point.")] = True,
    relax_ends: Annotated[bool, typer.Option(help="Relax both ends first.")] = True,
    fmax: Annotated[float, typer.Option(help="Largest force on the path at the end, eV/Å.")] = 0.05,
    steps: Annotated[int, typer.Option(min=0, help="Largest number of steps.")] = 500,
    spring: Annotated[float, typer.Option(help="Of the springs between images, eV/Å².")] = 0.1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Images with energies and forces, .extxyz; "
                                                                       "START-path.extxyz if absent.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Energies along the path, .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float64",
    pbc: Periodic = True,
    compile: Compile = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Find the path of least energy between two minima, with a climbing image at the saddle point.

    Exit status 1 if the path did not converge.
    """
    from zoo.cli import errors
    from zoo.errors import ZooError
    from zoo.files.atomic_writes import keep_older
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.simulation import reaction_path, relax
    from zoo.structures.reading import write_structures

    ends = [_only(file, pbc) for file in (start, end)]
    machine.keep_memory()
    field = load(model, device=device, dtype=dtype)
    if relax_ends:
        ends = relax(field, ends, fmax=min(fmax, 0.02), steps=2000, compile=compile)
        if lost := [str(file) for file, atoms in zip((start, end), ends) if not atoms.info["relax_converged"]]:
            raise ZooError(f"{' and '.join(lost)}: the relaxation did not converge. Fix: begin with a better geometry, "
                           "or give minima and --no-relax-ends.")
    screen = errors()
    with progress("path", "paths converged", quiet=quiet, screen=screen) as report:
        path = reaction_path(field, *ends, images=images, spring=spring, climb=climb, fmax=fmax, steps=steps,
                             compile=compile, progress=lambda done, of, force: report(
                                 done, of, f"largest force {force:.3f} eV/Å"))
    output = output or start.with_name(f"{start.stem}-path.extxyz")
    write_structures(output, path.images)
    if picture is not None:
        from zoo.simulation.pictures import draw_path

        with keep_older(picture):
            draw_path(path, picture, title=f"{ends[0].get_chemical_formula()}, {model}")
    if as_json:
        typer.echo(json_text({"model": model, "converged": path.converged, "steps": path.steps, "fmax_eV_A": path.fmax,
                              "barrier_eV": path.barrier, "reverse_barrier_eV": path.reverse_barrier,
                              "highest": path.highest, "energies_eV": path.energies.tolist(),
                              "coordinate_A": path.coordinate.tolist()}))
    else:
        _show(path, model)
    if not quiet:
        screen.print(f"wrote {len(path.images)} images to {output}", soft_wrap=True)
    if not path.converged:
        screen.print(f"not converged: largest force {path.fmax:.3f} eV/Å after {path.steps} steps", style="red")
        raise typer.Exit(1)


def _only(file: Path, pbc: bool) -> ase.Atoms:
    from zoo.errors import StructureError
    from zoo.structures.reading import read_structures

    reads = list(read_structures([file], pbc=pbc))
    if len(reads) != 1:
        raise StructureError(f"{file} has {len(reads)} structures, and an end is one. Fix: give a file with one.")
    if reads[0].atoms is None:
        raise reads[0].error or StructureError(f"{file} cannot be read. Fix: check the file.")
    return reads[0].atoms


def _show(path: ReactionPath, model: str) -> None:
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"path of {path.images[0].get_chemical_formula()} with {model}")
    for column in ("image", "length / Å", "energy / meV", ""):
        table.add_column(column, justify="right")
    for k, (length, energy) in enumerate(zip(path.coordinate, 1000 * (path.energies - path.energies[0]))):
        table.add_row(str(k), f"{length:.3f}", f"{energy:.1f}", "highest" if k == path.highest else "")
    console().print(table)
    console().print(f"barrier {1000 * path.barrier:.1f} meV, back {1000 * path.reverse_barrier:.1f} meV")
