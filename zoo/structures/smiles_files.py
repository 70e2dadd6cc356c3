"""SMILES from files: one a line with an optional name, or a column of a CSV or Parquet table; read lazily."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from zoo.errors import MissingExtraError, StructureError, did_you_mean

__all__ = ["SmilesLine", "read_smiles"]

_SMILES = ("smiles", "canonical_smiles", "isomeric_smiles", "canonicalsmiles", "isomericsmiles", "smiles_string",
            "smile", "structure_smiles")
"""Names of a column of SMILES, most usual first; case and spaces do not count."""
_NAMES = ("name", "id", "title", "compound", "compound_name", "molecule", "identifier")
_TABLES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


@dataclass(frozen=True)
class SmilesLine:
    """A SMILES and where it stands.

    Attributes:
        smiles: the text, empty on an empty line.
        name: given next to it, or empty.
        line: number of the line in its file, from 1; 0 if it is from no file.
    """

    smiles: str
    name: str = ""
    line: int = 0

    @property
    def label(self) -> str:
        """The name, or the SMILES, or the number of the line."""
        return self.name or self.smiles or f"line {self.line}"


def read_smiles(path: Path, column: str | None = None) -> Iterator[SmilesLine]:
    """Every line of a file, lazily.

    Args:
        path: ``.csv`` or ``.tsv`` with a header, ``.parquet`` (its rows are the lines, from 1), else a SMILES and,
            after white space, its name on each line (``.smi``); ``.gz`` of these, but not of Parquet. Empty lines
            before the end are lines without a SMILES.
        column: name of the column of a table; by default ``smiles`` or a usual variant.

    Raises:
        StructureError: the file cannot be read, is a pipe, or holds no SMILES; the table has no such column.
        MissingExtraError: Parquet, and pyarrow is not installed.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise StructureError(f"{path} is no regular file, and a file of SMILES is read more than once. "
                             "Fix: write what the pipe gives into a file.")
    line = None
    for line in _lines_of(path, column):
        yield line
    if line is None:
        raise StructureError(f"{path} holds no SMILES. Fix: give a file with one SMILES on each line, or a table with "
                             "a column of them.")


def _lines_of(path: Path, column: str | None) -> Iterator[SmilesLine]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path, column)
        return
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    try:
        with _opened(path) as file:
            if kind.lower() in _TABLES:
                yield from _table(path, file, _TABLES[kind.lower()], column)
            elif column is not None:
                raise StructureError(f"{path} has no columns: a column is chosen in .csv and .tsv files. "
                                     "Fix: remove --smiles-column, or rename the file.")
            else:
                yield from _lines(file)
    except (OSError, EOFError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise StructureError(f"{path}: {reason}. Fix: check the path.") from error


def _opened(path: Path) -> TextIO:
    # Bytes that are not UTF-8 become characters that no SMILES has: an error of their line, not of the file.
    options = {"encoding": "utf-8-sig", "errors": "replace", "newline": ""}
    return gzip.open(path, "rt", **options) if path.suffix == ".gz" else path.open(**options)  # type: ignore


def _lines(file: TextIO) -> Iterator[SmilesLine]:
    empty: list[int] = []
    for number, text in enumerate(file, 1):
        words = text.split(None, 1)
        if not words:
            empty.append(number)
            continue
        if number == 1 and words[0].casefold() in _SMILES:
            continue
        yield from (SmilesLine("", line=line) for line in empty)
        empty.clear()
        yield SmilesLine(words[0], words[1].strip() if len(words) > 1 else "", number)


def _table(path: Path, file: TextIO, delimiter: str, column: str | None) -> Iterator[SmilesLine]:
    first = file.readline()
    if delimiter == "," and first.count(";") > first.count(","):
        delimiter = ";"
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    at, named = _columns(path, header, column)
    reader = csv.reader(file, delimiter=delimiter)
    line = 2
    empty: list[int] = []
    try:
        for cells in reader:
            here, line = line, reader.line_num + 2
            if not any(cell.strip() for cell in cells):
                empty.append(here)
                continue
            yield from (SmilesLine("", line=number) for number in empty)
            empty.clear()
            smiles, name = ((cells[k].strip() if k is not None and k < len(cells) else "") for k in (at, named))
            yield SmilesLine(smiles, name, here)
    except csv.Error as error:
        raise StructureError(f"{path}, line {line}: {error}. Fix: correct the quotes of this line.") from error


def _parquet(path: Path, column: str | None) -> Iterator[SmilesLine]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError("reading Parquet", "parquet") from None
    try:
        with parquet.ParquetFile(path) as file:
            header = file.schema_arrow.names
            at, named = _columns(path, header, column)
            wanted = [header[k] for k in (at, named) if k is not None]
            number = 0
            for batch in file.iter_batches(columns=wanted):
                texts = [batch.column(name).to_pylist() for name in wanted]
                for smiles, *name in zip(*texts):
                    number += 1
                    yield SmilesLine(_text(smiles), _text(name[0]) if name else "", number)
    except (pyarrow.ArrowException, OSError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise StructureError(f"{path}: {reason}. Fix: check the path.") from error


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _columns(path: Path, header: list[str], column: str | None) -> tuple[int, int | None]:
    """Index of the column of SMILES, and of the one of names."""
    at = _column(path, header, column)
    return at, next((k for name in _NAMES for k, cell in enumerate(header) if _plain(cell) == name and k != at), None)


def _column(path: Path, header: list[str], column: str | None) -> int:
    """Index of the column of SMILES."""
    columns = ", ".join(header) or "none"
    if column is not None:
        if column not in header:
            raise StructureError(f"{path} has no column '{column}'{did_you_mean(column, header)} "
                                 f"Fix: choose from {columns}.")
        return header.index(column)
    plain = [_plain(cell) for cell in header]
    for name in _SMILES:
        if name in plain:
            return plain.index(name)
    if len(header) == 1:
        raise StructureError(f"{path} has one column, and '{header[0]}' is no name of a column of SMILES. Fix: write "
                             f"'smiles' above it, or give --smiles-column '{header[0]}'.")
    raise StructureError(f"{path} has no column 'smiles': its columns are {columns}. Fix: name the right one with "
                         "--smiles-column.")


def _plain(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")
