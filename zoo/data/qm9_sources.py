"""Readers of the forms in which QM9 is distributed. All give the same molecules and values, joined on the gdb index.

Values come in the units of the original (Hartree, D, a0³, a0², cal/mol/K) as the decimals were written, positions in Å.
"""

from __future__ import annotations

import importlib.util
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from zoo.data.qm9_published import COLUMNS
from zoo.data.qm9_pyg import read_processed
from zoo.data.qm9_raw import RawQM9
from zoo.data.splits import QM9_MOLECULES, qm9_uncharacterized
from zoo.errors import DataError, MissingExtraError
from zoo.process.progress import track

__all__ = ["read", "read_package"]

_ATOMIC_NUMBER = np.zeros(128, dtype=np.uint8)
_ATOMIC_NUMBER[[ord(symbol) for symbol in "HCNOF"]] = [1, 6, 7, 8, 9]


def read(path: Path, *, progress: bool = False) -> RawQM9:
    """Read QM9 from ``path``, whose form is recognised by its name.

    Raises:
        DataError: there is no such file, or its form is unknown.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist. Fix: check the path.")
    if path.is_dir():
        return _read_folder(path, progress)
    name = path.name
    if name.endswith(".npz"):
        raw = _read_npz(path)
    elif re.search(r"\.tar(\.\w+)?$|\.t[bgx]z2?$", name):
        texts = track(_tar_members(path), "unpacking QM9", "molecules", total=QM9_MOLECULES, enabled=progress)
        raw = _read_xyz(texts, f"archive {name}")
    elif name.endswith(".sdf"):
        raw = _read_sdf(path, _table_of(path))
    elif name.endswith(".sdf.csv"):
        raw = _read_sdf(path.with_suffix(""), path)
    elif name.endswith(".pt"):
        raw = read_processed(path)
    else:
        raise DataError(f"{path} is none of the forms of QM9 that are read: {_FORMS}. "
                        "Fix: give one of them.")
    return _characterised(raw)


_FORMS = ("dsgdb9nsd.xyz.tar.bz2 or a folder of its .xyz files; gdb9.sdf next to gdb9.sdf.csv; torch-geometric's QM9 "
          "folder or its .pt file; qm9.npz; or no path at all, with pip install 'geometric-zoo[qm9]'")


def _read_folder(folder: Path, progress: bool) -> RawQM9:
    for inside in (folder, folder / "raw"):
        if (inside / "gdb9.sdf").is_file():
            return read(inside / "gdb9.sdf", progress=progress)
    for name in ("qm9.npz", "dsgdb9nsd.xyz.tar.bz2", "processed/data_v3.pt", "data_v3.pt", "raw/qm9_v3.pt",
                 "qm9_v3.pt"):
        if (folder / name).is_file():
            return read(folder / name, progress=progress)
    frames = sorted(folder.glob("*.xyz"))
    if frames:
        texts = (frame.read_bytes() for frame in track(frames, "reading QM9", "molecules", enabled=progress))
        return _characterised(_read_xyz(texts, f"folder of {len(frames)} xyz files"))
    raise DataError(f"{folder} holds none of the forms of QM9 that are read: {_FORMS}. "
                        "Fix: give a folder that has one of them.")


def _characterised(raw: RawQM9) -> RawQM9:
    """In gdb order, without the uncharacterised molecules; refuses repeated or unknown indices."""
    if not len(raw.gdb):
        raise DataError(f"no molecule found in the {raw.source}. Fix: download the data set again.")
    if len(np.unique(raw.gdb)) != len(raw.gdb):
        raise DataError(f"a gdb index occurs twice in the {raw.source}. Fix: download the data set again.")
    excluded = np.fromiter(qm9_uncharacterized(), dtype=np.int64)
    rows = np.flatnonzero(~np.isin(raw.gdb, excluded))
    rows = rows[np.argsort(raw.gdb[rows], kind="stable")]
    if len(rows) == len(raw.gdb) and np.array_equal(rows, np.arange(len(rows))):
        return raw
    start = np.concatenate([[0], np.cumsum(raw.n_atoms)])
    atoms = np.concatenate([np.arange(start[r], start[r + 1]) for r in rows])
    return RawQM9(raw.gdb[rows], raw.n_atoms[rows], raw.z[atoms], raw.pos[atoms],
                  {name: value[rows] for name, value in raw.values.items()}, raw.source, raw.notes)


# -- the package qm9pack -------------------------------------------------------------------------------------------


def read_package(*, progress: bool = False) -> RawQM9:
    """Read the CSV files of the installed package ``qm9pack``, without importing it.

    Raises:
        MissingExtraError: it is not installed.
    """
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("QM9 from the package index", "qm9")
    parts = sorted(Path(spec.submodule_search_locations[0]).glob("data/qm9_part*.csv"))
    if not parts:
        raise DataError("the installed qm9pack has no data/qm9_part*.csv. Fix: pip install 'qm9pack>=1.0.3'")
    symbols, positions, numbers = [], [], []
    for part in track(parts, "reading QM9", "files", enabled=progress):
        with open(part, "rb") as lines:
            if not next(lines).startswith(b"XYZ_file,Index,SMILES,InChi,N_atoms,"):
                raise DataError(f"{part} does not begin with the columns of qm9pack 1.0.3. "
                        f"Fix: pip install 'qm9pack==1.0.3'")
            for line in lines:
                # Quoted fields: file, SMILES, InChI, stoichiometry, elements, positions, charges, frequencies.
                pieces = line.split(b'"')
                symbols.append(pieces[9])
                positions.append(pieces[11])
                numbers.append(pieces[2].strip(b",") + pieces[16])
    table = _floats(numbers, 16, "qm9pack")
    letters = [symbol.translate(None, b"[]', ") for symbol in symbols]
    pos = _floats([text.translate(None, b"[]") for text in positions], 3, "qm9pack")
    return _characterised(_raw(table[:, 0], letters, pos, table[:, 4:], "package qm9pack"))


# -- the original archive --------------------------------------------------------------------------------------------


def _tar_members(path: Path) -> Iterator[bytes]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xyz"):
                    file = archive.extractfile(member)
                    if file is not None:
                        yield file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Fix: download it again.") from error


def _read_xyz(texts: Iterable[bytes], source: str) -> RawQM9:
    """Line 1 atoms; line 2 ``gdb i A B C mu …``; then ``symbol x y z charge`` (10 decimals; 1*^-6 means 1e-6)."""
    letters, rows, heads = [], [], []
    for text in texts:
        lines = text.split(b"\n")
        try:
            count = int(lines[0])
            atoms, head = lines[2 : 2 + count], lines[1].split()
            if head[0] != b"gdb" or len(head) != 17 or len(atoms) != count:
                raise ValueError("line 2 is not 'gdb', an index and 15 values")
        except (ValueError, IndexError) as error:
            raise DataError(f"an xyz file of the {source} is not one of QM9's ({error}); it begins "
                            f"{text[:60].decode(errors='replace')!r}") from error
        letters.append(b"".join(line[:1] for line in atoms))
        rows.append(b" ".join(line[1:] for line in atoms).replace(b"*^", b"e"))
        heads.append(b" ".join(head[1:]).replace(b"*^", b"e"))
    table = _floats(heads, 16, source, separator=" ")
    pos = _floats(rows, 4, source, separator=" ")[:, :3]
    return _raw(table[:, 0], letters, pos, table[:, 4:], source)


# -- MoleculeNet ---------------------------------------------------------------------------------------------------


def _table_of(sdf: Path) -> Path:
    table = sdf.with_name(sdf.name + ".csv")
    if not table.is_file():
        raise DataError(f"{sdf} holds geometries only; its targets are in {table.name}, which is not next to it. "
                        "Fix: put both files into one folder.")
    return table


def _read_sdf(sdf: Path, table: Path) -> RawQM9:
    """V2000 blocks named ``gdb_i`` (4 decimals) joined with the rows of the CSV file."""
    source = f"file {sdf.name}"
    gdb, letters, rows = [], [], []
    for block in sdf.read_bytes().split(b"$$$$")[:-1]:
        lines = block.lstrip(b"\r\n").split(b"\n")
        try:
            gdb.append(_gdb_index(lines[0]))
            atoms = lines[4 : 4 + int(lines[3][:3])]
        except (ValueError, IndexError) as error:
            raise DataError(f"{sdf}: molecule {len(gdb) + 1} is no V2000 block named gdb_<index>. "
                        "Fix: download the data set again.") from error
        letters.append(b"".join(line[31:34].strip() for line in atoms))
        rows.append(b" ".join(line[:30] for line in atoms))
    header, *lines = table.read_bytes().splitlines()
    names = [name.strip().decode().lower() for name in header.split(b",")]
    wanted = [name.lower() if name not in ("U", "H", "G") else f"{name.lower()}298" for name in COLUMNS]
    if names[:1] != ["mol_id"] or not set(wanted) <= set(names):
        raise DataError(f"{table} lacks some of the columns mol_id, {', '.join(wanted)}; it has: {', '.join(names)}. "
                        "Fix: download the data set again.")
    fields = [line.split(b",", 1) for line in lines if line.strip()]
    row_of = {_gdb_index(name): row for row, (name, _) in enumerate(fields)}
    lost = [index for index in gdb if index not in row_of]
    if lost:
        raise DataError(f"{table} has no row for gdb_{lost[0]} and {len(lost) - 1} other molecules of {sdf.name}. "
                        "Fix: download the data set again.")
    values = _floats([rest for _, rest in fields], len(names) - 1, f"file {table.name}")
    values = values[[row_of[index] for index in gdb]][:, [names.index(name) - 1 for name in wanted]]
    raw = _raw(np.array(gdb, dtype=np.float64), letters, _floats(rows, 3, source, separator=" "), values, source)
    raw.notes["pos"] = "rounded to 4 decimals of an Å in this source"
    return raw


def _gdb_index(name: bytes) -> int:
    return int(name.strip().removeprefix(b"gdb_"))


# -- flat arrays -----------------------------------------------------------------------------------------------------


def _read_npz(path: Path) -> RawQM9:
    """Arrays z, pos, n_atoms, gdb_idx and one per target, in the units of the original."""
    with np.load(path, allow_pickle=False) as arrays:
        missing = [name for name in ("z", "pos", "n_atoms", "gdb_idx", *COLUMNS) if name not in arrays]
        if missing:
            raise DataError(f"{path} lacks the arrays {', '.join(missing)}; it has: {', '.join(arrays)}. "
                        "Fix: download the data set again.")
        return RawQM9(
            gdb=arrays["gdb_idx"].astype(np.int64), n_atoms=arrays["n_atoms"].astype(np.int64),
            z=arrays["z"].astype(np.uint8), pos=arrays["pos"].astype(np.float32),
            values={name: arrays[name].astype(np.float64) for name in COLUMNS}, source=f"file {path.name}",
        )


# -- shared ----------------------------------------------------------------------------------------------------------


def _raw(gdb: np.ndarray, letters: Sequence[bytes], pos: np.ndarray, values: np.ndarray, source: str) -> RawQM9:
    z = _ATOMIC_NUMBER[np.frombuffer(b"".join(letters), dtype=np.uint8) & 127]
    n_atoms = np.fromiter(map(len, letters), dtype=np.int64, count=len(letters))
    if len(z) != len(pos) or len(letters) != len(values):
        raise DataError(f"the {source} has {len(z)} atoms but {len(pos)} positions, {len(letters)} molecules but "
                        f"{len(values)} rows of values. Fix: download the data set again.")
    if not z.all():
        raise DataError(f"the {source} has an element that is not H, C, N, O or F. Fix: download the data set again.")
    columns = {name: np.ascontiguousarray(values[:, k]) for k, name in enumerate(COLUMNS)}
    return RawQM9(gdb.astype(np.int64), n_atoms, z, pos.astype(np.float32), columns, source)


def _floats(texts: Sequence[bytes], width: int, source: str, *, separator: str = ",") -> np.ndarray:
    """All numbers of ``texts`` as (rows, width) float64, correctly rounded, in one call."""
    joined = separator.encode().join(text.strip() for text in texts)
    try:
        numbers = np.fromstring(joined, dtype=np.float64, sep=separator)
    except (ValueError, DeprecationWarning) as error:
        raise DataError(f"the {source} cannot be read: something else found where a number was expected. "
                        "Fix: download the data set again.") from error
    if len(numbers) % width:
        raise DataError(f"the {source} cannot be read: {len(numbers)} numbers where rows of {width} were expected. "
                        "Fix: download the data set again.")
    return numbers.reshape(-1, width)
