"""`zoo lab stability, drift, eos, phonons, scan, reach`: tests of a force field, with results for its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Compile
from zoo.cli.writing import check_writable
from zoo.errors import ZooError
from zoo.files.atomic_writes import keep_older
from zoo.files.strict_json import json_text
from zoo.process.progress import progress
from zoo.properties.card_results import write_result

if TYPE_CHECKING:
    import ase

    from zoo.model.model import Model
    from zoo.properties import Phonons

__all__ = ["Device", "Dtype", "Name", "Write", "add_to", "load_to_measure", "write_into_card"]

Name = Annotated[str, typer.Argument(help="A model of `zoo list`, a card folder, or hf:org/repo[@rev].")]
File = Annotated[Path, typer.Argument(help="A structure file; if it holds several, the first is used.")]
Write = Annotated[bool, typer.Option("--write", help="Also write the result into the card of a card folder.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]


def add_to(lab: typer.Typer) -> None:
    """Register the commands with ``zoo lab``."""
    for name, command in (("stability", stability), ("drift", drift), ("eos", eos), ("phonons", phonons),
                          ("scan", scan), ("reach", reach)):
        lab.command(name)(command)


def stability(
    name: Name,
    file: File,
    data: Annotated[Path | None, typer.Option(help="Frames of the same molecule, to compare bond lengths.")] = None,
    temperatures: Annotated[str, typer.Option(help="Temperatures in K, separated by commas.")] = "300,600",
    seeds: Annotated[int, typer.Option(min=1, help="Runs at each temperature.")] = 10,
    picoseconds: Annotated[float, typer.Option(help="Length of each run in ps.")] = 10.0,
    timestep: Annotated[float, typer.Option(help="Time step in fs.")] = 0.5,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float32",
    compile: Compile = False,
) -> None:
    """The share of NVT runs in which all bonds stay intact, and the distribution of bond lengths.

    With --write, results at other temperatures stay in the card if all other settings are the same.
    """
    from zoo.properties import stability as measure

    model = load_to_measure(name, device, dtype, write=write)
    frames = [] if data is None else _frames(data)
    with progress("NVT") as report:
        result = measure(model, _first(file), temperatures=_numbers(temperatures), seeds=seeds,
                         picoseconds=picoseconds, timestep=timestep, data=frames, compile=compile, progress=report)
    _out(model, "nvt", result, write)


def drift(
    name: Name,
    file: File,
    temperature: Annotated[float, typer.Option(help="Temperature in K.")] = 300.0,
    picoseconds: Annotated[float, typer.Option(help="Length of the run in ps.")] = 10.0,
    timestep: Annotated[float, typer.Option(help="Time step in fs.")] = 0.5,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, all in one batch; the largest drift counts.")] = 1,
    equilibrate: Annotated[float, typer.Option(help="ps of NVT before the NVE run.")] = 1.0,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
    compile: Compile = False,
) -> None:
    """How well NVE dynamics conserves energy."""
    from zoo.properties import energy_drift

    model = load_to_measure(name, device, dtype, write=write)
    with progress("NVE") as report:
        result = energy_drift(model, _first(file), temperature=temperature, picoseconds=picoseconds,
                              timestep=timestep, seeds=seeds, equilibrate=equilibrate, compile=compile,
                              progress=report)
    _out(model, "nve", result, write)


def eos(
    name: Name,
    file: File,
    strain: Annotated[float, typer.Option(help="Largest relative change of a length.")] = 0.03,
    points: Annotated[int, typer.Option(min=5, help="Number of volumes.")] = 11,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
) -> None:
    """Lattice constant and bulk modulus of a crystal."""
    from zoo.properties import equation_of_state

    model = load_to_measure(name, device, dtype, write=write)
    _out(model, "equation_of_state", equation_of_state(model, _first(file), strain=strain, points=points), write)


def phonons(
    name: Name,
    file: File,
    supercell: Annotated[str | None, typer.Option(help="Repetitions of the primitive cell, 6 or 6,6,4; absent: even "
                                                       "ones with 16 Å between opposite faces.")] = None,
    relax: Annotated[bool, typer.Option(help="Relax positions and cell first.")] = True,
    displace: Annotated[
        float | None, typer.Option(help="Compare with ASE's finite differences with this displacement, Å.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw the bands to a .png file.")] = None,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
) -> None:
    """Phonons of a crystal at the special points of its lattice; imaginary frequencies are negative."""
    from zoo.properties import phonons as measure

    model = load_to_measure(name, device, dtype, write=write)
    repeats = None if supercell is None else _repeats(supercell)
    found = measure(model, _first(file), supercell=repeats, relax=relax)
    result = found.report() | {"relaxed": relax, "dtype": dtype}
    if displace is not None:
        result["finite_displacement"] = _displaced(model, found, displace)
    if output is not None:
        from zoo.properties.pictures import draw_bands

        title = model.card.name if model.card is not None else name
        with keep_older(output):
            draw_bands(found, output, title=f"{title}: phonons of {result['structure']}")
    _out(model, "phonons", result, write)
    if model.card is not None and model.card.signature.get("smooth", 2) == 1:
        typer.echo(f"warning: the cut-off function of {model.card.name} has a continuous first derivative only: force "
                   "constants jump where a neighbor enters it, and frequencies depend on which do", err=True)
    if result["imaginary"]:
        typer.echo(f"warning: {result['imaginary']} imaginary frequencies, down to {result['lowest_THz']} THz: the "
                   "structure is no minimum of the energy", err=True)


def _displaced(model: Model, found: Phonons, delta: float) -> dict[str, Any]:
    """Largest difference to frequencies by finite displacements where both are exact, without the zeros at Γ."""
    from zoo.properties.lattice_dynamics import IMAGINARY, displaced

    path = found.path()
    fitting = {label: q for label, q in path.special_points.items() if found.fits(q)}
    points = list(fitting.values())
    exact = found.frequencies(points)
    apart = abs(displaced(model, found, points, delta=delta) - exact)[abs(exact) > -IMAGINARY].max()
    return {"delta_A": delta, "at": sorted("Γ" if label == "G" else label for label in fitting),
            "largest_difference_THz": float(f"{apart:.2g}")}


def _repeats(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ZooError(f"--supercell {text!r}: expected one or three whole numbers. Fix: write 6 or 6,6,4")
    return [int(part) for part in parts] * (3 // len(parts))


def scan(
    name: Name,
    file: File,
    shortest: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="Shortest bond, as a multiple of its relaxed length.")
    ] = 0.4,
    longest: Annotated[float, typer.Option(min=1.0, help="Longest bond, as a multiple of its relaxed length.")] = 1.6,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw the energies to a .png file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
) -> None:
    """Energies of a molecule along the stretch of and the rotation about each bond; finds holes below the minimum."""
    from zoo.properties import scan as measure

    model = load_to_measure(name, device, dtype, write=write)
    with progress("scan", "structures") as report:
        found = measure(model, _first(file), shortest=shortest, longest=longest, progress=report)
    result = found.report() | {"dtype": dtype}
    title = model.card.name if model.card is not None else name
    if output is not None:
        from zoo.properties.pictures import draw_scan

        with keep_older(output):
            draw_scan(found, output, title=f"{title}: {result['structure']}")
    if as_json:
        typer.echo(json_text(result))
    else:
        _print_scan(title, result)
    if write:
        write_into_card(model, "scan", result)


def _print_scan(title: str, result: dict[str, Any]) -> None:
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"{title} on {result['structure']}: where the energy rises, and what is below the minimum")
    for column in ("", "bond", "relaxed, Å", "rises", "scanned", "highest, eV", "lowest, eV", "hole"):
        table.add_column(column, justify="left" if column in ("", "bond") else "right")
    for kind, row in result["bonds"].items():
        table.add_row("pressed and stretched", f"{row['bonds']} {kind}", _span(row["length_A"], ".3f"),
                      _span(row["rises"], "g"), _span(row["scanned"], "g"), *_energies(row))
    for row in result["turns"]:
        first, second = row["atoms"]
        table.add_row("turned", f"{row['bond']} ({first}, {second})", f"{row['length_A']:.3f}",
                      _span(row["rises"], "g") + "°", "±180°", *_energies(row, "°"))
    console().print(table)
    for count, text in ((result["in_rings"], "bonds in rings were left out"),
                        (result["not_finite"], "energies were not finite, or two nuclei coincided")):
        if count:
            typer.echo(f"{count} {text}")
    if not result["start_relaxed"]:
        typer.echo("the relaxation did not converge: energies are above where it ended")


def _span(ends: list[float], style: str) -> str:
    return " … ".join(dict.fromkeys(format(end, style) for end in ends))


def _energies(row: dict[str, Any], unit: str = "") -> tuple[str, str, str]:
    hole = f"at {row['lowest_at']:g}{unit}" if row["hole"] else "none"
    return f"{row['highest_eV']:.4g}", f"{row['lowest_eV']:.3g}", hole


def reach(
    data: Annotated[Path, typer.Argument(help="File of the frames that a model was trained on.")],
    one_molecule: Annotated[
        bool, typer.Option("--one-molecule",
            help="All frames are one molecule with the same order of atoms: use its bonds.")
    ] = False,
) -> None:
    """Ranges of bond lengths and forces in training frames, for ``domain`` of a card."""
    from zoo.properties import training_coverage

    frames = _frames(data)
    typer.echo(json_text(training_coverage(frames, reference=frames[0] if one_molecule else None)))


def load_to_measure(name: str, device: str | None, dtype: str, *, write: bool) -> Model:
    """The model; with ``write``, its card is checked before anything is computed."""
    from zoo.loading.models import load
    from zoo.process import machine

    machine.keep_memory()
    model = load(name, device=device, dtype=dtype)
    if write:
        check_writable(model.card)
    return model


def _first(file: Path) -> ase.Atoms:
    """The first structure of a file, whatever follows it."""
    from zoo.structures.reading import read_structures

    read = next(iter(read_structures([file])))
    if read.atoms is None:
        assert read.error is not None
        raise read.error
    return read.atoms


def _frames(file: Path) -> list[ase.Atoms]:
    from zoo.structures.reading import read_structures

    reads = list(read_structures([file]))
    for read in reads:
        if read.error is not None:
            raise read.error
    return [read.atoms for read in reads if read.atoms is not None]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ZooError(f"--temperatures {text!r}: expected numbers separated by commas. Fix: write 300,600") from None


def _out(model: Model, key: str, result: dict[str, Any], write: bool) -> None:
    typer.echo(json_text(result))
    if write:
        write_into_card(model, key, result)


def write_into_card(model: Model, key: str, result: dict[str, Any]) -> None:
    """Write a result under ``stability`` of the model's card, and say where."""
    path = write_result(model.required_card, key, result)
    typer.echo(f"wrote stability.{key} into {path}", err=True)
