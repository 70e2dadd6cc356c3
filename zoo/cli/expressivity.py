"""`zoo lab expressivity`: runs the experiments and prints their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo.errors import ZooError
from zoo.files.atomic_writes import keep_older
from zoo.files.markdown import markdown_table
from zoo.files.strict_json import json_text

if TYPE_CHECKING:
    from zoo.lab.experiments import ExperimentResults, PairResult

__all__ = ["as_data", "run", "tables"]


def run(names: Sequence[str] | None, experiments: str, layers: str, seeds: int, picture: Path | None, markdown: bool,
        as_json: bool) -> None:
    """The command's body; see its options."""
    from zoo.lab.experiments import EXPERIMENTS, run_experiments
    from zoo.registry.families import FAMILIES

    wanted = list(EXPERIMENTS) if experiments == "all" else [part.strip() for part in experiments.split(",")]
    if picture is not None and not {"pairs", "chains"} & set(wanted):
        raise ZooError("--picture shows pairs and chains. Fix: ask for one of them with --experiments")
    found = run_experiments(names or FAMILIES, experiments=wanted, layers=_depths(layers), seeds=seeds)
    if picture is not None:
        from zoo.lab.pictures import draw_expressivity

        with keep_older(picture):
            draw_expressivity([*found.pairs, *found.chains], picture)
    if as_json:
        typer.echo(json_text(as_data(found)))
    elif markdown:
        for title, head, rows in tables(found):
            typer.echo(f"**{title}**\n\n{markdown_table(head, rows)}\n")
    else:
        _print(found)


def as_data(found: ExperimentResults) -> dict[str, Any]:
    """All results, as plain numbers and strings."""
    return {
        "pairs": [_finding(f) for f in found.pairs],
        "chains": [_finding(f) for f in found.chains],
        "stars": [{"name": o.name, "lmax": o.lmax, "fold": o.fold, "seen": o.seen, "margin": o.margin, "noise": o.noise,
                   "expected": o.expected} for o in found.stars],
        "picasso": [{"name": a.name, "level": a.level, "layers": a.layers, "accuracy": list(a.by_seed), "mean": a.mean,
                     "as_expected": a.as_expected} for a in found.picasso],
        "surprises": found.surprises,
    }


def tables(found: ExperimentResults) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, head and rows of every experiment, for people."""
    for title, rows in (("pairs", found.pairs), ("k-chains", found.chains)):
        if rows:
            names, kinds = (list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("name", "pair"))
            by_place = {(row.name, row.pair): row for row in rows}
            depth = next((row.deep.layers for row in rows if row.deep.layers), None)
            tried = f"up to {depth} layers" if depth else "as trained"
            yield (f"{title}: distinguished? (margin over float64 noise, {tried})", ["", *kinds],
                   [[name, *(_cell(by_place[name, kind]) for kind in kinds)] for name in names])
    if found.stars:
        folds = list(dict.fromkeys(o.fold for o in found.stars))
        by_star = {(o.name, o.lmax, o.fold): o for o in found.stars}
        keys = list(dict.fromkeys((o.name, o.lmax) for o in found.stars))
        yield ("n-fold stars: does the centre see a turn by π/n?", ["", "lmax", *(f"n = {n}" for n in folds)],
               [[name, str(lmax), *(_seen(by_star[name, lmax, n]) for n in folds)] for name, lmax in keys])
    if found.picasso:
        yield ("Picasso problem: test accuracy", ["", "level", "mean", "by seed", "expected"],
               [[a.name, a.level, f"{a.mean:.3f}", " ".join(f"{x:.2f}" for x in a.by_seed), _hope(a)]
                for a in found.picasso])


def _finding(f: PairResult) -> dict[str, Any]:
    data: dict[str, Any] = {"name": f.name, "pair": f.pair, "told_apart": f.deep.distinguished, "from_layers": f.first}
    for key, verdict in (("shallow", f.shallow), ("deep", f.deep)):
        data[key] = {"layers": verdict.layers, "told_apart": verdict.distinguished, "difference": verdict.difference,
                     "noise": verdict.noise, "margin": verdict.margin}
    if f.expected is not None:
        data["expected"] = {"from_layers": f.expected.layers, "textbook": f.expected.textbook,
                            "reason": f.expected.reason}
    return data | {"as_expected": f.as_expected}


def _cell(f: PairResult) -> str:
    if f.first is not None:
        text = f"from {f.first} ({_short(f.deep.margin)})"
    else:
        text = f"{'yes' if f.deep.distinguished else 'never' if f.deep.layers else 'no'} ({_short(f.deep.margin)})"
    return text if f.as_expected is not False else f"{text} ≠ expected"


def _short(margin: float) -> str:
    """0.3, 17, 4e12."""
    if margin < 1000:
        return f"{margin:.1f}" if margin < 10 else f"{margin:.0f}"
    mantissa, exponent = f"{margin:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _seen(o: Any) -> str:
    text = f"{'yes' if o.seen else 'no'} ({_short(o.margin)})"
    return text if o.seen == o.expected else f"{text} ≠ expected"


def _hope(a: Any) -> str:
    if a.as_expected is None:
        return ""
    visible = a.expected.layers is not None and a.expected.layers <= a.layers
    return ("≥ 0.95" if visible else "chance") + ("" if a.as_expected else ", missed")


def _print(found: ExperimentResults) -> None:
    from rich.table import Table

    from zoo.cli import console

    out = console()
    for title, head, rows in tables(found):
        table = Table(title=title)
        for column in head:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        out.print(table)
    for surprise in found.surprises:
        out.print(f"not as expected: {surprise}", style="yellow")


def _depths(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ZooError(f"--layers {text!r}: expected numbers separated by commas. Fix: write them like 1,2,3") from None
