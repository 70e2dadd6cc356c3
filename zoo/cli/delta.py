"""`zoo lab delta`: equations of state of the elemental crystals against all-electron PBE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.measuring import Device, Dtype, Name, Write, load_to_measure, write_into_card
from zoo.files.atomic_writes import keep_older
from zoo.files.strict_json import json_text
from zoo.process.progress import progress

if TYPE_CHECKING:
    from zoo.properties import DeltaTest

__all__ = ["delta"]


def delta(
    name: Name,
    elements: Annotated[str | None, typer.Option(help="Chemical symbols separated by commas; 71 if absent.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw Δ in the periodic table, a .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    write: Write = False,
    device: Device = None,
    dtype: Dtype = "float64",
) -> None:
    """The Delta test: how close the equations of state of 71 elemental crystals come to all-electron PBE.

    Published by Lejaeghere et al., Science 351, aad3000 (2016). Codes of today differ by about 1 meV/atom.
    """
    from zoo.properties import delta_test

    model = load_to_measure(name, device, dtype, write=write)
    chosen = None if elements is None else [part.strip() for part in elements.split(",")]
    with progress("delta", "crystals") as report:
        test = delta_test(model, chosen, progress=report)
    result = test.report() | {"dtype": dtype}
    title = model.card.name if model.card is not None else name
    if output is not None:
        from zoo.properties.pictures import draw_delta

        with keep_older(output):
            draw_delta(test, output, title=f"{title}: Delta test, mean {test.delta:.2f} meV/atom")
    if as_json:
        typer.echo(json_text(result))
    else:
        _print(title, test)
    if write:
        write_into_card(model, "delta", result)


def _print(title: str, test: DeltaTest) -> None:
    from rich.table import Table

    from zoo.cli import console
    from zoo.properties.elemental_crystals import MAGNETIC, REFERENCE

    table = Table(title=f"{title} against {REFERENCE}, in brackets")
    for column in ("", "V₀, Å³/atom", "B₀, GPa", "B₁", "Δ, meV/atom"):
        table.add_column(column, justify="right" if column else "left")
    for element, entry in test.crystals.items():
        pairs = ((entry.curve.volume, entry.reference.volume, 3),
                 (entry.curve.bulk_modulus, entry.reference.bulk_modulus, 1),
                 (entry.curve.derivative, entry.reference.derivative, 2))
        table.add_row(element, *(f"{own:.{digits}f} ({other:.{digits}f})" for own, other, digits in pairs),
                      f"{entry.delta:.2f}")
    report = test.report()
    console().print(table)
    if test.crystals:
        typer.echo(f"Δ of {report['crystals']} crystals: mean {report['delta_meV_per_atom']} meV/atom, median "
                   f"{report['median_meV_per_atom']}; median error of V₀ {report['median_volume_error_percent']} %, of "
                   f"B₀ {report['median_bulk_modulus_error_percent']} %")
    if magnetic := [element for element in MAGNETIC if element in test.crystals]:
        typer.echo(f"magnetic moments are ignored: the model has none, the reference of {', '.join(magnetic)} has")
    if test.outside:
        typer.echo(f"unknown to the model: {', '.join(test.outside)}")
    for element, reason in test.failed.items():
        typer.echo(f"no Δ, and not in the means: {element}, {reason}")
