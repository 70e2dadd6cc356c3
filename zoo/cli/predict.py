"""`zoo predict`: structures from files or SMILES to a table, JSON, CSV, SDF or extended XYZ."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Periodic
from zoo.errors import StructureError, UnknownNameError, ZooError, of_structure
from zoo.process.progress import track

if TYPE_CHECKING:
    from zoo.inference.rows import Predicted
    from zoo.inference.writers import Heading
    from zoo.model.model import Model
    from zoo.structures.reading import Read
    from zoo.structures.smiles_files import SmilesLine

__all__ = ["predict"]

_LISTED = 20  # warnings of one kind, after which they are counted
_WORTH_PROGRESS = 256  # structures


def predict(
    words: Annotated[list[str] | None, typer.Argument(
        metavar="[NAME] [FILES]...", help="A model (a name of `zoo list`, a card folder, hf:org/repo[@rev]), then "
        "structure files of any format that ASE reads. A first word that is a file is a structure.")] = None,
    name: Annotated[str | None, typer.Option("--model", "-m", help="The model; all arguments are files then.")] = None,
    models: Annotated[str | None, typer.Option(help="Several models, A,B,C: mean and spread of formation energies, "
                                                    "forces and stress. All arguments are files then.")] = None,
    smiles: Annotated[list[str] | None, typer.Option(help="A SMILES instead of a file (repeatable).")] = None,
    smiles_file: Annotated[Path | None, typer.Option(help="SMILES with names, one a line (.smi), or a table (.csv, "
                                                          ".tsv).")] = None,
    smiles_column: Annotated[str | None, typer.Option(help="Its column; `smiles` or alike by default.")] = None,
    conformers: Annotated[int, typer.Option(help="Embeddings of each SMILES; the lowest in energy is predicted.")] = 10,
    average: Annotated[str, typer.Option(help="Over conformers: lowest, boltzmann or mean.")] = "lowest",
    processes: Annotated[int | None, typer.Option(help="For embedding; all processors by default.")] = None,
    forces: Annotated[bool, typer.Option("--forces", help="Also forces (in --json and --output).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on standard output.")] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", help="Structures with results, by the ending: "
                                               ".extxyz, .sdf, .csv or .json; a folder (out/) of shards for very many, "
                                               "which goes on where it was cut short.")] = None,
    engine: Annotated[str | None, typer.Option(help="Where shards of a folder are computed: local or ray.")] = None,
    shard: Annotated[int, typer.Option(min=1, help="Structures of a shard of a folder.")] = 1024,
    share: Annotated[str | None, typer.Option(help="3/16: this command is the third of 16 that fill a folder; under "
                                                   "Slurm, each task's own by default.")] = None,
    image: Annotated[Path | None, typer.Option(help="Draw the molecules into this PNG or SVG.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    max_atoms: Annotated[int, typer.Option(help="Atoms per batch.")] = 4096,
    pbc: Periodic = True,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty/--no-uncertainty", help="Error estimates (±); warnings outside the data.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")] = False,
) -> None:
    """Predict properties of molecules or crystals. What cannot be read or predicted is named, the rest is kept."""
    from zoo.cli.prediction_shards import predict_into
    from zoo.inference.molecules import embedded_for
    from zoo.inference.rows import predicted
    from zoo.inference.shards import Job
    from zoo.inference.writers import Heading
    from zoo.process import machine
    from zoo.process.pools import processors
    from zoo.process.shares import parse_share, slurm_share
    from zoo.structures.drawing import check_picture
    from zoo.structures.reading import read_structures

    if models is not None:
        from zoo.cli.committee import predict_with

        if name is not None or smiles or smiles_file is not None or as_csv or image is not None or average != "lowest":
            raise ZooError("--models takes structure files. Fix: leave out --model, --smiles, --smiles-file, "
                           "--average, --csv and --image")
        predict_with(models, [Path(word) for word in words or []], pbc=pbc, as_json=as_json,
                     output=None if output is None else Path(output), device=device, dtype=dtype, quiet=quiet)
        return
    given, files = _model_and_files(name, words or [])
    if as_json and as_csv:
        raise ZooError("--json and --csv exclude each other. Fix: choose one of them")
    if not files and not smiles and smiles_file is None:
        no_file = f": '{given}' is neither a file nor a model" if given and _looks_like_a_file(given) else ""
        raise StructureError(f"nothing to predict{no_file}. Fix: name structure files, or use --smiles CCO or "
                             "--smiles-file")
    if forces and average != "lowest":
        raise StructureError("forces have no average over conformers. Fix: leave out --forces or --average")
    if image is not None:
        check_picture(image)
    lines, of = _lines(smiles or [], smiles_file, smiles_column)
    workers = processes or processors()
    in_shards = output is not None and (output.endswith("/") or Path(output).is_dir())
    if not in_shards and (engine is not None or share is not None):
        raise ZooError("--engine and --share are for shards in a folder. Fix: give --output FOLDER/ too")
    if output is not None and in_shards:
        if smiles or forces or as_json or as_csv or image is not None or not pbc:
            raise ZooError("shards are tables in a folder. Fix: give --output FOLDER/ and files or --smiles-file, "
                           "without --smiles, --forces, --json, --csv, --image and --no-pbc")
        first = list(islice(read_structures(files), 1))
        job = Job(_chosen(given, first, quiet=quiet), "parquet" if _is_parquet(smiles_file) else "csv",
                  smiles_file is not None, conformers, average,  # type: ignore[arg-type]
                  uncertainty=uncertainty, dtype=dtype, device=device, max_atoms=max_atoms)
        if predict_into(Path(output), job, lines, of, files=files, smiles_file=smiles_file, engine=engine or "local",
                        share=slurm_share() if share is None else parse_share(share),
                        workers=workers, shard=shard, quiet=quiet).failed:
            raise typer.Exit(2)
        return
    reads = list(read_structures(files, pbc=pbc))
    machine.keep_memory()
    model = _load(_chosen(given, reads, quiet=quiet), device=device, dtype=dtype)
    estimates = uncertainty and _has_estimates(model)
    embedded = embedded_for(model, lines, count=conformers, average=average,  # type: ignore[arg-type]
                            processes=workers)
    rows = predicted(model, chain(reads, embedded), average=average,  # type: ignore[arg-type]
                     derivatives=["forces"] if forces else [], max_atoms=max_atoms, uncertainty=estimates)
    total = len(reads) + of
    shown = track(rows, "predict", "structures", total=total, enabled=not quiet and total > _WORTH_PROGRESS)
    results = Results(Heading.of(model, uncertainty=estimates, smiles=of > 0),
                      None if output is None else Path(output), image, smiles_file,
                      b3lyp_only=bool(_other_model(model)))
    results.write(shown, "json" if as_json else "csv" if as_csv else "table")
    results.notes([*_of_the_card(model), *(_other_model(model) if results.flagged else [])], quiet=quiet)
    if results.failed:
        raise typer.Exit(2)


def _model_and_files(name: str | None, words: Sequence[str]) -> tuple[str | None, list[Path]]:
    """The model that is named, if any, and the structure files."""
    paths = [Path(word) for word in words]
    if name is not None or not words or (paths[0].is_file() and paths[0].suffix not in (".yaml", ".yml")):
        return name, paths
    return words[0], paths[1:]


def _looks_like_a_file(word: str) -> bool:
    return bool(Path(word).suffix) and ":" not in word and not Path(word).exists()


def _is_parquet(file: Path | None) -> bool:
    return file is not None and file.suffix.lower() == ".parquet"


def _chosen(name: str | None, reads: Sequence[Read], *, quiet: bool) -> str:
    """The model named, or the default one, which is said."""
    from zoo.registry.default_models import default_model

    if name is not None:
        return name
    periodic = any(read.atoms is not None and read.atoms.pbc.any() for read in reads)
    chosen = default_model(periodic=periodic)
    if not quiet:
        kind = "periodic structures" if periodic else "molecules"
        typer.echo(f"model: {chosen}, the default for {kind} (--model chooses another)", err=True)
    return chosen


def _load(name: str, *, device: str | None, dtype: str) -> Model:
    from zoo.loading.models import load

    try:
        return load(name, device=device, dtype=dtype)
    except UnknownNameError as error:
        if _looks_like_a_file(name):
            raise UnknownNameError(f"'{name}' is neither a file nor a model: {error}") from error
        raise


def _lines(smiles: Sequence[str], file: Path | None, column: str | None) -> tuple[Iterator[SmilesLine], int]:
    """All SMILES, and how many there are; the file is looked through first, so that an error in it comes at once."""
    from zoo.structures.smiles_files import SmilesLine, read_smiles

    if column is not None and file is None:
        raise StructureError("--smiles-column is a column of --smiles-file. Fix: name the file too")
    given = [SmilesLine(text) for text in smiles]
    if file is None:
        return iter(given), len(given)
    return chain(given, read_smiles(file, column)), len(given) + sum(1 for _ in read_smiles(file, column))


def _has_estimates(model: Model) -> bool:
    """Whether the model has error estimates; one that never had any is not worth a warning."""
    from zoo.uncertainty import find

    known = None if model.card is None else model.card.uncertainty
    return known is not None and not isinstance(known, str) and find(model) is not None


def _of_the_card(model: Model) -> list[str]:
    """Why there is no ±, where the card says so; and what the zero of another package's energies is."""
    card = model.card
    if card is None:
        return []
    notes = [f"no error estimates: {card.uncertainty}"] if isinstance(card.uncertainty, str) else []
    if card.source is not None:
        notes += [f"{name}: {spec.description}" for name, spec in card.targets.items() if spec.description]
    return notes


def _other_model(model: Model) -> list[str]:
    """Which model takes geometries that this one was not trained on, for structures that it flags."""
    from zoo.registry.default_models import for_other_geometries

    other = for_other_geometries(None if model.card is None else model.card.data.dataset)
    return [] if other is None else [f"{other} takes geometries of force fields, semi-empirical methods and SMILES: "
                                     f"--model {other}"]


class Results:
    """Where rows go: standard output, a file, a picture; and what is said of them at the end."""

    def __init__(self, heading: Heading, output: Path | None, image: Path | None, smiles_file: Path | None, *,
                 b3lyp_only: bool = False) -> None:
        self.heading, self.output, self.image, self.smiles_file = heading, output, image, smiles_file
        self.count = 0
        self.flagged = 0
        self.b3lyp_only = b3lyp_only
        self.failed: list[Predicted] = []
        self.remarks: list[str] = []
        self._drawn: list[tuple[Any, str]] = []

    @property
    def failures(self) -> Path | None:
        """The table of what failed of a file of SMILES, next to the output."""
        return None if self.output is None or self.smiles_file is None else self.output.with_suffix(".failed.csv")

    def write(self, rows: Iterable[Predicted], form: str) -> None:
        """Write rows as they come; tables and the picture at the end."""
        from zoo.cli.prediction_tables import show
        from zoo.inference import writers
        from zoo.structures.drawing import draw

        kept: list[Predicted] = []
        with ExitStack() as stack:
            sinks = []
            if self.output is not None:
                sinks.append(stack.enter_context(writers.writing(self.output, self.heading)))
            if form in ("json", "csv"):
                sinks.append((writers.JSONWriter if form == "json" else writers.CSVWriter)(sys.stdout, self.heading))
            for row in rows:
                for sink in sinks:
                    sink.add(row)
                if form == "table":
                    kept.append(row)
                self._note(row)
            if form in ("json", "csv"):
                sinks[-1].close()
        if form == "table":
            show(self.heading, kept)
        if self.failures is not None:
            writers.write_failures(self.failures, self.failed)
        if self.image is not None:
            draw([molecule for molecule, _ in self._drawn], [label for _, label in self._drawn], self.image)

    def _note(self, row: Predicted) -> None:
        from zoo.inference.writers import molecule_of
        from zoo.structures.drawing import DRAWN

        self.count += 1
        if row.error is not None:
            self.failed.append(row)
            return
        if row.outside:
            self.flagged += 1
            self.remarks.append(f"{row.where} is outside the training data: {'; '.join(row.outside)}. Its errors may "
                                "be larger than ± says")
        self.remarks += [f"{row.where}: {note}" for note in row.notes]
        if self.image is not None and len(self._drawn) < DRAWN:
            self._drawn.append((molecule_of(row), row.label))

    def notes(self, of_the_card: Sequence[str], *, quiet: bool) -> None:
        """Failures, warnings, what the card says and what was written, on standard error."""
        for row in self.failed:
            typer.secho(f"error: {of_structure(row.where, row.error)}", fg="red", err=True)
        if self.failed:
            kept = f", listed in {self.failures}" if self.failures is not None else ""
            typer.secho(f"{len(self.failed)} of {self.count} structures failed{kept}", fg="red", err=True)
        if not quiet:
            for remark in self.remarks[:_LISTED]:
                typer.secho(f"warning: {remark}", fg="yellow", err=True)
            if len(self.remarks) > _LISTED:
                typer.secho(f"and {len(self.remarks) - _LISTED} more warnings: see --csv, --json or --output",
                            fg="yellow", err=True)
            for note in of_the_card:
                typer.echo(note, err=True)
            if self.output is not None:
                typer.echo(f"wrote {self.count - len(self.failed)} structures to {self.output}", err=True)
            if self.image is not None:
                typer.echo(f"drew {len(self._drawn)} molecules into {self.image}", err=True)
            if self.heading.smiles and self.b3lyp_only:
                typer.echo("geometries from SMILES are RDKit conformers (ETKDG, then MMFF94), not minima of the "
                           "model's level of theory: expect larger errors", err=True)
        sys.stderr.flush()
