"""`zoo evaluate`: errors of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from zoo.cli.writing import check_writable
from zoo.files.strict_json import json_text
from zoo.process.progress import progress

if TYPE_CHECKING:
    from zoo.cards.card import Card
    from zoo.evaluation.evaluation import Evaluation, SplitName

__all__ = ["evaluate", "into_card", "show"]


def evaluate(
    name: Annotated[str, typer.Argument(help="Name of a model, or a card folder.")],
    split: Annotated[
        str | None, typer.Option(help="test, val, train or all; default: test for the card's data, all for others.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder or file of the card's data set, or another file of structures.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Change the card's data: --set data.units.energy=eV (repeatable).")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    limit: Annotated[int | None, typer.Option(help="Largest number of structures, taken at even intervals.")] = None,
    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Allow structures of the training set; the result is marked.")
    ] = False,
    align_energies: Annotated[
        bool, typer.Option("--align-energies",
            help="Fit one energy per element to the labels first: for labels of another zero of energy.")
    ] = False,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="Also errors by number of heavy atoms and by element.")
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write the metrics into the card.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the results.")] = Path(
        "evaluation.yaml"
    ),
    plot: Annotated[Path | None, typer.Option(help="Draw predictions against labels into this PNG file.")] = None,
    roc: Annotated[
        Path | None, typer.Option(help="Also draw how well other kinds of geometry are flagged into this PNG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Measure a model on the test split of its data (or on other data): MAE, RMSE, largest error and R²."""
    from zoo.errors import EvaluationError
    from zoo.evaluation.evaluation import evaluate as measure
    from zoo.files.atomic_writes import keep_older, write_text
    from zoo.files.yaml_writer import dump_yaml
    from zoo.loading import models as loading
    from zoo.process import machine
    from zoo.training.recipe import apply_overrides
    from zoo.uncertainty import stale

    if write and (limit is not None or allow_overlap):
        raise EvaluationError("--write takes whole splits that were not trained on. Fix: leave out --limit and "
                              "--allow-overlap")
    machine.prepare()
    model = loading.load(name, device=device, dtype=dtype)
    card = model.required_card
    old = stale(card)
    if old is not None:
        typer.secho(f"left out: {old}", fg="yellow", err=True)
    if write:
        check_writable(card)
    if overrides:
        changed = apply_overrides(card.to_dict(), overrides)
        card = model.card = card.replace(data=changed["data"])
    chosen = cast("SplitName | None", split)  # which refuses a wrong name
    with progress("evaluate", "structures") as report:
        result = measure(model, split=chosen, data=data, limit=limit, allow_overlap=allow_overlap,
                         align_energies=align_energies, progress=report)
    with keep_older(output):
        write_text(output, dump_yaml(result.to_dict()))
    if as_json:
        print(json_text(result.to_dict()))
    else:
        show(result, breakdown=breakdown)
        typer.echo(f"written to {output}", err=True)
    if plot is not None:
        from zoo.evaluation.pictures import draw_parity

        with keep_older(plot):
            draw_parity(result.results, plot, title=f"{result.model}, {result.split}")
    if roc is not None:
        from zoo.evaluation.pictures import draw_detection

        with keep_older(roc):
            draw_detection(result, roc)
    if write:
        into_card(card, result)


def into_card(card: Card, result: Evaluation) -> None:
    fresh = card.reread()
    folder = fresh.folder
    assert folder is not None  # refused before where there is none
    others = [metric.model_dump(exclude_unset=True) for metric in fresh.metrics if metric.split != result.split]
    parts = [part.model_dump(exclude_unset=True) for part in fresh.breakdown if part.split != result.split]
    uncertainty = _uncertainty(fresh, result)
    fresh.replace(metrics=[*others, *result.metrics], breakdown=[*parts, *result.card_breakdown()] or None,
                  uncertainty=uncertainty).save(folder)
    typer.echo(f"metrics of '{result.split}' written into {folder / 'card.yaml'}", err=True)


def _uncertainty(card: Card, result: Evaluation) -> Any:
    """The card's section ``uncertainty`` with the new measurement; ``None`` if it was calibrated for other weights."""
    from zoo.cards.measured import Uncertainty
    from zoo.uncertainty import stale

    section = card.uncertainty
    if not isinstance(section, Uncertainty):
        return section
    if stale(card) is not None:
        return None
    kept = [m.model_dump(exclude_unset=True) for m in section.measured if m.split != result.split]
    new = [] if result.calibration is None else [result.calibration]
    return {**section.model_dump(exclude_unset=True), "measured": [*kept, *new]}


def show(result: Evaluation, *, breakdown: bool) -> None:
    from rich.table import Table

    from zoo.cli import console

    table = Table(title=f"{result.model} · {result.split} · {result.n:,} structures", title_justify="left")
    for column in ("target", "unit", "MAE", "95 %", "RMSE", "max", "R²", "n"):
        table.add_column(column, justify="left" if column in ("target", "unit") else "right")
    for target in result.results:
        found = {m["metric"]: m for m in result.metrics if m["target"] == target}
        if found:
            mae = found["mae"]
            low, high = mae["interval"]
            r2 = f"{found['r2']['value']:.4f}" if "r2" in found else "–"
            table.add_row(target, mae["unit"], f"{mae['value']:.4g}", f"{low:.4g} – {high:.4g}",
                          f"{found['rmse']['value']:.4g}", f"{found['max']['value']:.4g}", r2, f"{mae['n']:,}")
        if "rmse_per_atom" in found:
            mae, rmse = found["mae_per_atom"], found["rmse_per_atom"]
            table.add_row("", mae["unit"], f"{mae['value']:.4g}", "", f"{rmse['value']:.4g}", "", "", "")
    console().print(table)
    if result.energy_shifts:
        console().print("energies of the model were shifted per atom by " + ", ".join(
            f"{element} {shift:+.3f}" for element, shift in result.energy_shifts.items()) + " (fitted to the labels)")
    if result.calibration is not None:
        console().print(_intervals(result))
    if result.kinds is not None:
        console().print(_kinds(result))
    if breakdown:
        for kind in ("size", "heavy_atoms", "element"):
            console().print(_parts(result, kind))


def _intervals(result: Evaluation) -> Any:
    from rich.table import Table

    held = result.calibration
    assert held is not None
    table = Table(title=f"intervals; {held['outside']:.2%} of the structures flagged", title_justify="left")
    for column in ("target", "coverage", "Spearman", "median half-width", "unit"):
        table.add_column(column, justify="left" if column in ("target", "unit") else "right")
    units = {m["target"]: m["unit"] for m in result.metrics if m["metric"] == "mae"}
    for target, share in held["coverage"].items():
        table.add_row(target, f"{share:.1%}", f"{held['spearman'][target]:.2f}", f"{held['width'][target]:.4g}",
                      units[target])
    return table


def _kinds(result: Evaluation) -> Any:
    from rich.table import Table

    kinds = result.kinds
    assert kinds is not None
    table = Table(title="MAE by kind of structure (coverage of the intervals of those not flagged)",
                  title_justify="left")
    table.add_column("target")
    for group, n in zip(kinds["groups"], kinds["n"]):
        table.add_column(f"{group} ({n:,})", justify="right")
    for target, mae in kinds["mae"].items():
        coverage = kinds.get("coverage", {}).get(target, [None] * len(mae))
        table.add_row(target, *("–" if value is None else f"{value:.4g}" + ("" if share is None else f" ({share:.0%})")
                                for value, share in zip(mae, coverage)))
    if "outside" in kinds:
        table.add_row("flagged", *(f"{share:.1%}" for share in kinds["outside"]))
    return table


def _parts(result: Evaluation, kind: str) -> Any:
    from rich.table import Table

    groups = list(next(iter(result.breakdown.values()))[kind])
    title = {"size": "MAE by number of atoms", "heavy_atoms": "MAE by number of heavy atoms",
             "element": "MAE of structures that contain"}[kind]
    table = Table(title=title, title_justify="left")
    table.add_column("target")
    for group in groups:
        table.add_column(group, justify="right")
    for target, parts in result.breakdown.items():
        table.add_row(target, *(f"{parts[kind][g]['mae']:.4g}" if g in parts[kind] else "–" for g in groups))
    return table
