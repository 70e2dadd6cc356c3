"""`zoo push`, `pull`, `publish`, `cache`, `registry`, `data`: models and data sets on the Hub and on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.files.strict_json import json_text

if TYPE_CHECKING:
    from zoo.cards.card import Card
    from zoo.hub.housekeeping import Kept
    from zoo.hub.release import Release

__all__ = ["cache", "data", "publish", "pull", "push", "registry"]

_SETTINGS = {"help_option_names": ["-h", "--help"]}

cache = typer.Typer(no_args_is_help=True, context_settings=_SETTINGS,
                    help="The Hub's cache: list it, verify it, delete damaged files.")
registry = typer.Typer(no_args_is_help=True, context_settings=_SETTINGS,
                       help="Registries of other groups, whose models then appear in `zoo list`.")
data = typer.Typer(no_args_is_help=True, context_settings=_SETTINGS, help="Data sets: make, push and pull them.")

Private = Annotated[bool, typer.Option("--private", help="Make the repository private when it is created.")]
Tag = Annotated[str | None, typer.Option(help="Tag of the commit, such as v1.0.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, but upload nothing.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite changes that others made since the last push.")]


def push(
    model: Annotated[str, typer.Argument(help="A name of `zoo list`, or a card folder.")],
    repo: Annotated[str, typer.Argument(help="organisation/name on the Hub.")],
    private: Private = False,
    tag: Tag = None,
    dry_run: DryRun = False,
    replace: Replace = False,
) -> None:
    """Push a model to the Hub in one commit, and record its pin. Repeating it changes nothing."""
    from zoo.hub.release import push as run

    _show(run(model, repo, private=private, tag=tag, dry_run=dry_run, replace=replace))


def publish(
    organisation: Annotated[str, typer.Option("--org", help="The organisation, or your name, on the Hub.")],
    path: Annotated[Path, typer.Option("--registry", help="The registry whose card folders are pushed.")] = Path(
        "registry.yaml"
    ),
    names: Annotated[list[str] | None, typer.Argument(help="Only these models.")] = None,
    private: Private = False,
    tag: Tag = None,
    dry_run: DryRun = False,
    replace: Replace = False,
) -> None:
    """Push every model of a registry, then write all pins into it. After an interruption, run it again."""
    from zoo.hub.release import publish as run

    for one in run(organisation, path, names=names, private=private, tag=tag, dry_run=dry_run, replace=replace):
        _show(one)
    if not dry_run:
        print(f"all pins are in {path}")


def pull(
    name: Annotated[str, typer.Argument(help="A name of `zoo list`, or hf:organisation/name@revision.")],
    to: Annotated[
        Path | None, typer.Option(help="Also write a card folder there; default: only the Hub's cache.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder with other content.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", help="The other package's file that the card names under 'source'.")
    ] = None,
) -> None:
    """Download a model and verify its hashes; afterwards it can be used without a network. Weights of another package
    are downloaded and converted, or converted from --file."""
    from zoo.loading.pulling import pull as run

    pulled = run(name, to, force=force, file=file)
    if pulled.card.source is not None:
        print(_terms(pulled.card))
    where = pulled.origin or ("was here already" if pulled.address is None else f"from {pulled.address}")
    print(f"{pulled.card.name} {where}, verified: {pulled.folder}")
    for other, reason in pulled.left_out.items():
        print(f"  left there: {other}: {reason}")


def _terms(card: Card) -> str:
    """On what terms the weights of another package's authors are used."""
    source = card.source
    assert source is not None  # printed for cards with one
    terms = [f"{what} {text}" for what, text in (("weights", source.weights_license), ("code", source.code_license))
             if text]
    return f"{card.name}: {', '.join(terms) or 'no licence is stated'}; zoo show {card.name} says what to cite"


def _show(one: Release) -> None:
    contents = one.contents
    if one.pushed is None:
        print(f"{one.card.name} would go to {one.repo}:")
        for path in contents.files:
            print(f"  {path}  {contents.size(path):,} bytes")
    elif not one.pushed.changed:
        print(f"{one.card.name}: {one.repo} has all of it, at {one.pushed.address.revision}")
    else:
        print(f"{one.card.name}: pushed {', '.join(one.pushed.changed)} to {one.repo}")
    for path, reason in contents.left_out.items():
        print(f"  not sent: {path}: {reason}")
    if one.pushed is not None:
        for path in one.pushed.kept:
            print(f"  {path} on the Hub was written by hand and is left as it is")
        before = f" (was {one.before})" if one.before and one.before != one.pin else ""
        print(f"  pinned in {one.registry}: {one.pin}{before}")


# --- cache ------------------------------------------------------------------------------------------------------------


@cache.command("list")
def cache_list(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on standard output.")] = False,
) -> None:
    """Models and data sets of the zoo in the cache, with their commits and sizes; weights converted from others'."""
    from zoo.hub.cache import cache_folder
    from zoo.hub.housekeeping import kept
    from zoo.loading.converted_files import converted_files

    found, converted = list(kept()), converted_files()
    if as_json:
        rows = [{"name": one.name, "address": str(one.address), "kind": one.address.kind, "bytes": one.bytes,
                 "whole": one.whole, "folder": str(one.folder)} for one in found]
        rows += [{"name": one.name, "address": None, "kind": "converted", "bytes": one.bytes,
                  "whole": one.state == "whole", "folder": str(one.folder)} for one in converted]
        print(json_text(rows))
        return
    _table(found)
    print(f"{len(found)} in {cache_folder()}, {sum(one.bytes for one in found) / 1e6:.1f} MB")
    for one in converted:
        print(f"{one.name}, converted, {one.bytes / 1e6:.1f} MB, {one.state}: {one.folder}")


def _table(found: list[Kept]) -> None:
    from rich import box
    from rich.table import Table

    from zoo.cli import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "kind", "address", "MB", "state"):
        table.add_column(title, justify="right" if title == "MB" else "left", no_wrap=title == "address")
    for one in found:
        state = "whole" if one.whole else "in part"
        table.add_row(one.name, one.address.kind, str(one.address), f"{one.bytes / 1e6:.1f}", state)
    if found:
        console().print(table)


@cache.command("verify")
def cache_verify() -> None:
    """Check the hash of every file of the zoo in the cache; exit status 2 if one is wrong."""
    from zoo.errors import WeightsError
    from zoo.hub.housekeeping import kept, verify
    from zoo.loading.converted_files import converted_files

    wrong = []
    for one in kept():
        problems = verify(one)
        print(f"{one.address}: {'damaged' if problems else 'intact'}")
        wrong += problems
    for conversion in converted_files():
        print(f"{conversion.folder}: {'intact' if conversion.state == 'whole' else conversion.state}")
        if conversion.state == "damaged":
            wrong.append(f"{conversion.folder} is damaged")
    if wrong:
        raise WeightsError("\n".join([*wrong, "  Fix: zoo cache prune, then zoo pull what is needed"]))


@cache.command("prune")
def cache_prune(
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Models or data sets to delete: hf:organisation/name@commit.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted.")] = False,
) -> None:
    """Delete damaged files, remains of interrupted downloads, other packages' files that were converted, and the
    addresses given."""
    from zoo.errors import UnknownNameError
    from zoo.hub.address import Address
    from zoo.hub.housekeeping import kept, prune
    from zoo.loading.converted_files import prune_converted

    wanted = []
    for text in addresses or []:
        address = Address.parse(text)
        found = [one.address for one in kept() if one.address.repo == address.repo
                 and (not address.pinned or one.address.revision == address.revision)]
        if not found:
            raise UnknownNameError(f"{text} is not in the cache. Fix: choose from zoo cache list")
        wanted += found
    freed, gone = prune(wanted, dry_run=dry_run)
    more, converted = prune_converted(dry_run=dry_run)
    freed, gone = freed + more, gone + converted
    for line in gone:
        print(f"{'would go' if dry_run else 'gone'}: {line}")
    print(f"{freed / 1e6:.1f} MB {'would be' if dry_run else ''} freed".replace("  ", " "))


# --- registries -------------------------------------------------------------------------------------------------------


@registry.command("add")
def registry_add(
    source: Annotated[str, typer.Argument(help="A registry.yaml, its folder, or hf:organisation/name@revision.")],
) -> None:
    """Add another group's models to `zoo list`. Conflicting names are reported; no name replaces another."""
    from rich.text import Text

    from zoo.cli import errors
    from zoo.hub.registries import add

    added = add(source)
    print(f"added {added.source} with {len(added.names)} models: {', '.join(added.names)}")
    for reason in added.conflicts.values():
        errors().print(Text(f"not usable by name: {reason}", style="yellow"), soft_wrap=True)


@registry.command("remove")
def registry_remove(source: Annotated[str, typer.Argument(help="The address or path that it was added with.")]) -> None:
    """Remove a registry that was added."""
    from zoo.hub.registries import remove

    remove(source)
    print(f"removed {source}")


@registry.command("list")
def registry_list() -> None:
    """List the registries that were added."""
    from zoo.registry.sources import included

    for path, origin in included():
        print(f"{origin}: {path}" if origin != str(path) else origin)


# --- data sets --------------------------------------------------------------------------------------------------------


@data.command("push")
def data_push(
    folder: Annotated[Path, typer.Argument(help="A saved store.")],
    repo: Annotated[str, typer.Argument(help="organisation/name on the Hub.")],
    license: Annotated[str | None, typer.Option(help="License of the data, such as cc-by-4.0.")] = None,
    private: Private = False,
    tag: Tag = None,
    replace: Replace = False,
) -> None:
    """Push a data set in one commit; prints the lines for a card."""
    from zoo.hub.datasets import push_data

    done = push_data(folder, repo, license=license, private=private, tag=tag, replace=replace)
    print(f"pushed {', '.join(done.changed)}" if done.changed else f"{repo} has all of it")
    print(f"in a card:\n  data:\n    dataset: {done.address}")


@data.command("pull")
def data_pull(
    address: Annotated[str, typer.Argument(help="hf:organisation/name@revision")],
) -> None:
    """Download a data set and verify its hashes."""
    from zoo.hub.datasets import fetch_data

    print(fetch_data(address))


@data.command("make")
def data_make(
    name: Annotated[str, typer.Argument(help="qm9-geometries: bonds, MMFF94 and xTB minima, conformers of SMILES.")],
    out: Annotated[Path | None, typer.Option(help="Folder; finished files are kept, missing ones are computed. "
                                                  "By default $ZOO_HOME/data/qm9-geometries.")] = None,
    source: Annotated[
        Path | None, typer.Option("--data", help="QM9 in any form; the package qm9pack by default.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="bonds, mmff, smiles or xtb (repeatable); all by default.")
    ] = None,
    split: Annotated[list[str] | None, typer.Option(help="test, val, train (repeatable); all by default.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Largest number of molecules of each split and kind.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Compute a data set. After an interruption, the same command continues."""
    from zoo.errors import UnknownNameError, did_you_mean

    if name != "qm9-geometries":
        raise UnknownNameError(f"no data set '{name}' can be made{did_you_mean(name, ['qm9-geometries'])} "
                               "Fix: zoo data make qm9-geometries.")
    from zoo.data.qm9 import open_qm9
    from zoo.data.qm9_geometries import SPLITS, make
    from zoo.files.zoo_home import home
    from zoo.structures.geometries import KINDS

    for chosen, known in ((only, KINDS), (split, SPLITS)):
        for word in chosen or ():
            if word not in known:
                raise UnknownNameError(f"there is no '{word}'{did_you_mean(word, known)} "
                                       f"Fix: choose among {', '.join(known)}.")
    folder = out or home() / "data" / "qm9-geometries"
    made = make(open_qm9(source, cutoff=None, progress=not quiet), folder, kinds=only or None, splits=split or SPLITS,
                limit=limit, workers=workers, quiet=quiet)
    for kind, parts in made.items():
        for part, counts in parts.items():
            reasons = "".join(f"; {count:,}: {reason}" for reason, count in counts["reasons"].items())
            print(f"{kind}, {part}: {counts['molecules']:,} of {counts['of']:,} molecules, {counts['structures']:,} "
                  f"structures, {counts['failed']:,} failed{reasons}")
    if "xtb" not in made and not only:
        print("GFN2-xTB is left out: pip install 'geometric-zoo[xtb]'")
    print(f"in {folder}")
