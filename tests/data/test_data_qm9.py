"""QM9 comes in many forms; each gives the same molecules and the same values, to the last bit."""

from __future__ import annotations

import importlib.util
import io
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import ase.units
import numpy as np
import pytest
import torch

from zoo.data import open_qm9, open_sample, qm9, qm9_published, qm9_sources
from zoo.data.qm9_published import COLUMNS
from zoo.data.qm9_raw import RawQM9
from zoo.data.splits import QM9_TEST_SHA256, qm9_uncharacterized
from zoo.errors import DataError, MissingExtraError
from zoo.registry import host

METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t-40.47893\t-40.476062\
\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""
"""gdb 1 as published (one coordinate in the notation that the archive uses for small numbers)."""


@pytest.fixture(scope="module")
def raw() -> RawQM9:
    """Every fifth molecule of the sample, in the units of the original."""
    part = open_sample(cutoff=None).subset(torch.arange(0, 500, 5))
    hartree = part.meta["hartree"]
    decimals = {"mu": 4, "alpha": 2, "homo": 4, "lumo": 4, "gap": 4, "r2": 4, "Cv": 3}
    values = {}
    for name in COLUMNS:
        unit = hartree if part.units[name] == "eV" else 1.0
        values[name] = np.round(part.labels[name].numpy() / unit, decimals.get(name, 6))
    return RawQM9(part.ids.numpy(), part.n_atoms.numpy(), part.z.numpy(), part.pos.numpy(), values, "sample")


def molecules(raw: RawQM9):
    start = 0
    for row, (gdb, n) in enumerate(zip(raw.gdb.tolist(), raw.n_atoms.tolist())):
        symbols = ["HCNOF"[[1, 6, 7, 8, 9].index(z)] for z in raw.z[start : start + n].tolist()]
        yield gdb, symbols, raw.pos[start : start + n].astype(float), [raw.values[name][row] for name in COLUMNS]
        start += n


def xyz_texts(raw: RawQM9) -> dict[str, str]:
    texts = {}
    for gdb, symbols, pos, values in molecules(raw):
        atoms = "".join(f"{s}\t{x!r}\t {y!r}\t{z!r}\t-0.5\n" for s, (x, y, z) in zip(symbols, pos.tolist()))
        numbers = "\t".join(repr(float(v)) for v in (1.0, 2.0, 3.0, *values))
        texts[f"dsgdb9nsd_{gdb:06d}.xyz"] = (f"{len(symbols)}\ngdb {gdb}\t{numbers}\t\n{atoms}1.0\t2.0\nC\tC\t\nI\tI\n"
                                             .replace("e-", "*^-"))
    return texts


def write_archive(raw: RawQM9, path: Path) -> Path:
    with tarfile.open(path, "w:bz2") as archive:
        for name, text in xyz_texts(raw).items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def write_moleculenet(raw: RawQM9, folder: Path, *, reverse: bool = True) -> Path:
    blocks, rows = [], []
    for gdb, symbols, pos, values in molecules(raw):
        atoms = "".join(f"{x:10.4f}{y:10.4f}{z:10.4f} {s}   0  0  0\n" for s, (x, y, z) in zip(symbols, pos.tolist()))
        blocks.append(f"gdb_{gdb}\n  -OEChem-0323182\n\n{len(symbols):3d}  1  0     0  0  0  0  0  0999 V2000\n{atoms}"
                      "  1  2  1  0  0  0  0\nM  END\n$$$$\n")
        rows.append(f"gdb_{gdb},1.0,2.0,3.0," + ",".join(repr(float(v)) for v in values) + ",0.,0.,0.,0.\n")
    header = "mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv,u0_atom,u298_atom,h298_atom,g298_atom\n"
    (folder / "gdb9.sdf").write_text("".join(blocks))
    # The table in another order than the structures: a reader that trusts the order mixes molecules up.
    (folder / "gdb9.sdf.csv").write_text(header + "".join(rows[::-1] if reverse else rows))
    return folder / "gdb9.sdf"


def pyg_entries(raw: RawQM9) -> list[dict]:
    """Entries as torch-geometric computes them: in float32, in eV, with a bond graph."""
    hartree, kcal = 27.211386246, 0.04336414
    factors = torch.tensor([1, 1, hartree, hartree, hartree, 1, *[hartree] * 5, 1, *[kcal] * 4, 1, 1, 1])
    entries = []
    for gdb, symbols, pos, values in molecules(raw):
        z = [[1, 6, 7, 8, 9]["HCNOF".index(s)] for s in symbols]
        named = dict(zip(COLUMNS, values))
        references = qm9_published.ATOM_REFERENCES
        atomization = [(named[n] - sum(references[n][k] for k in z)) * 627.509 for n in ("U0", "U", "H", "G")]
        y = torch.tensor([*values, *atomization, 1.0, 2.0, 3.0], dtype=torch.float) * factors
        entries.append({"z": torch.tensor(z), "pos": torch.from_numpy(pos.round(4)).float(), "y": y[None],
                        "idx": gdb - 1, "name": f"gdb_{gdb}", "edge_index": torch.tensor([[0, 1], [1, 0]])})
    return entries


def write_processed(raw: RawQM9, path: Path) -> Path:
    from torch_geometric.data import Data, InMemoryDataset

    InMemoryDataset.save([Data(**entry) for entry in pyg_entries(raw)], str(path))
    return path


def assert_same(found: RawQM9, expected: RawQM9) -> None:
    assert np.array_equal(found.gdb, expected.gdb) and np.array_equal(found.n_atoms, expected.n_atoms)
    assert np.array_equal(found.z, expected.z)
    for name in COLUMNS:
        if name in found.notes:
            np.testing.assert_allclose(found.values[name], expected.values[name], atol=1.1e-4)
        else:
            assert np.array_equal(found.values[name], expected.values[name]), name
    if "pos" in found.notes:
        np.testing.assert_allclose(found.pos, expected.pos, atol=5.1e-5)
    else:
        assert found.pos.dtype == np.float32 and np.array_equal(found.pos, expected.pos)


def test_the_original_archive(raw, tmp_path):
    found = qm9_sources.read(write_archive(raw, tmp_path / "dsgdb9nsd.xyz.tar.bz2"))
    assert_same(found, raw)
    assert not found.notes


def test_a_folder_of_the_archives_files_in_any_order(raw, tmp_path):
    for name, text in xyz_texts(raw).items():
        (tmp_path / f"{name[::-1][4:]}.xyz").write_text(text)
    assert_same(qm9_sources.read(tmp_path), raw)


def test_methane_as_it_was_published(tmp_path):
    (tmp_path / "dsgdb9nsd_000001.xyz").write_text(METHANE)
    store = open_qm9(tmp_path, partial=True)
    assert store.ids.tolist() == [1] and store.z.tolist() == [6, 1, 1, 1, 1]
    expected = {"mu": 0.0, "alpha": 13.21, "r2": 35.3641, "Cv": 6.469}
    assert {name: float(store.labels[name][0]) for name in expected} == expected
    for name, hartree in {"homo": -0.3877, "gap": 0.5048, "zpve": 0.044749, "U0": -40.47893, "G": -40.498597}.items():
        assert float(store.labels[name][0]) == pytest.approx(hartree * ase.units.Hartree, rel=1e-7)
        assert store.units[name] == "eV"
    assert float(store.pos[2, 2]) == np.float32(2.765748e-4)
    assert store.graph([0]).num_edges == 20


def test_moleculenet_joined_by_index(raw, tmp_path):
    sdf = write_moleculenet(raw, tmp_path)
    for path in (sdf, tmp_path, tmp_path / "gdb9.sdf.csv"):
        found = qm9_sources.read(path)
        assert_same(found, raw)
        assert set(found.notes) == {"pos"}


def test_processed_files_of_torch_geometric(raw, tmp_path):
    (tmp_path / "processed").mkdir()
    processed = write_processed(raw, tmp_path / "processed" / "data_v3.pt")
    torch.save(pyg_entries(raw), tmp_path / "qm9_v3.pt")
    for path in (processed, tmp_path, tmp_path / "qm9_v3.pt"):
        found = qm9_sources.read(path)
        assert_same(found, raw)
        assert set(found.notes) == {"pos", "r2"}
    assert np.abs(found.pos - np.concatenate([e["pos"] for e in pyg_entries(raw)])).max() == 0


def test_raw_files_beside_processed_ones_go_first_as_they_are_exact(raw, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "processed").mkdir()
    write_moleculenet(raw, tmp_path / "raw")
    write_processed(raw, tmp_path / "processed" / "data_v3.pt")
    assert set(qm9_sources.read(tmp_path).notes) == {"pos"}


class Payload:
    def __reduce__(self):
        return (print, ("code in a pickle ran",))


def test_a_pickle_with_code_in_it_is_refused_unopened(tmp_path, capsys):
    torch.save((Payload(), {}, None), tmp_path / "data_v3.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("data_v3.pt", "plain.pt"):
        with pytest.raises(DataError, match=r"can run code.*refused"):
            qm9_sources.read(tmp_path / name)
    assert "code in a pickle ran" not in capsys.readouterr().out


def test_flat_arrays(raw, tmp_path):
    np.savez(tmp_path / "qm9.npz", z=raw.z, pos=raw.pos, n_atoms=raw.n_atoms.astype(np.uint8),
             gdb_idx=raw.gdb.astype(np.int32), **raw.values)
    assert_same(qm9_sources.read(tmp_path / "qm9.npz"), raw)
    np.savez(tmp_path / "other.npz", z=raw.z, pos=raw.pos)
    with pytest.raises(DataError, match="lacks the arrays n_atoms, gdb_idx"):
        qm9_sources.read(tmp_path / "other.npz")


def write_package(raw: RawQM9, folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('needs pkg_resources')\n")
    lines = ["XYZ_file,Index,SMILES,InChi,N_atoms,Stoichiometry,Elements,XYZ_Ang,Mulliken_pop,Harmonic_Freq_cmi\n"]
    for gdb, symbols, pos, values in molecules(raw):
        elements = "[" + ",".join(f"'{s}'" for s in symbols) + "]"
        xyz = str(pos.tolist()).replace(" ", "")
        numbers = ",".join(repr(float(v)) for v in (1.0, 2.0, 3.0, *values))
        lines.append(f'"dsgdb9nsd_{gdb:06d}.xyz",{gdb},"C","I=1S/C,2H",{len(symbols)},"[1,2]","{elements}","{xyz}",'
                     f'"[0.1,0.2]","[1.0]",{numbers}\n')
    (folder / "data" / "qm9_part1.csv").write_text("".join(lines[:40]))
    (folder / "data" / "qm9_part2.csv").write_text("".join([lines[0], *lines[40:]]))


def test_the_package_is_read_without_importing_it(raw, tmp_path, monkeypatch):
    write_package(raw, tmp_path / "qm9pack")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "qm9pack", raising=False)
    assert_same(qm9_sources.read_package(), raw)


def test_without_the_package_the_way_to_get_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'geometric-zoo\[qm9\]'"):
        open_qm9()


def test_uncharacterised_molecules_are_left_out_and_order_is_that_of_the_index(raw, tmp_path):
    bad = min(qm9_uncharacterized())
    gdb = raw.gdb.copy()
    gdb[3] = bad
    texts = list(xyz_texts(replace(raw, gdb=gdb)).values())
    for k, text in enumerate(reversed(texts)):
        (tmp_path / f"{k:03d}.xyz").write_text(text)
    found = qm9_sources.read(tmp_path)
    assert found.gdb.tolist() == [i for i in raw.gdb.tolist() if i != raw.gdb[3]]
    keep = np.repeat(np.arange(100) != 3, raw.n_atoms)
    assert np.array_equal(found.pos, raw.pos[keep])
    assert np.array_equal(found.values["U0"], np.delete(raw.values["U0"], 3))


@pytest.mark.parametrize(("text", "message"), [
    ("3\ngdb 1\t1\t2\nH 0 0 0\n", "not one of QM9's"),
    (METHANE.replace("gdb 1", "water"), "not one of QM9's"),
    (METHANE.replace("1.0858041578", "1.08x"), "where a number was expected"),
    (METHANE.replace("\t-0.535689", ""), "19 numbers where rows of 4"),
    (METHANE.replace("C\t-0.01", "Q\t-0.01"), "not H, C, N, O or F"),
    (METHANE.replace("5\n", "50\n", 1), "not one of QM9's"),
])
def test_malformed_files_are_named_not_swallowed(tmp_path, text, message):
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(DataError, match=message):
        qm9_sources.read(tmp_path)


def test_a_truncated_archive_is_an_error(raw, tmp_path):
    path = write_archive(raw, tmp_path / "dsgdb9nsd.xyz.tar.bz2")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="download it again"):
        qm9_sources.read(path)


def test_a_part_of_qm9_is_not_taken_for_the_whole(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match="has 100 characterised molecules of QM9, 130,831 were expected"):
        open_qm9(write_archive(raw, tmp_path / "a.tar.bz2"))
    assert not list((tmp_path / "home").rglob("*.safetensors"))
    with pytest.raises(DataError, match="does not exist"):
        open_qm9(tmp_path / "nothing.npz")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DataError, match="none of the forms"):
        open_qm9(tmp_path / "notes.txt")


def as_whole(raw: RawQM9, monkeypatch) -> None:
    """Let the part at hand pass for all of QM9."""
    monkeypatch.setattr(qm9, "QM9_SIZES", {"train": len(raw.gdb)})
    monkeypatch.setattr(qm9, "FINGERPRINTS", qm9.fingerprints(raw))
    monkeypatch.setattr(qm9, "MEAN_POSITION", float(np.abs(raw.pos).mean(dtype=np.float64)))


def test_a_source_with_other_values_is_refused(raw, tmp_path, monkeypatch):
    as_whole(raw, monkeypatch)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    values = raw.values | {"gap": raw.values["gap"] + np.eye(1, 100, 50)[0] * 1e-4}
    path = write_archive(replace(raw, values=values), tmp_path / "a.tar.bz2")
    moved = write_archive(replace(raw, pos=raw.pos * np.float32(1.001)), tmp_path / "b.tar.bz2")
    with pytest.raises(DataError, match=r"positions in the archive b\.tar\.bz2 differ"):
        open_qm9(moved)
    with pytest.raises(DataError, match=r"'gap' in the archive a\.tar\.bz2 differs from the published QM9"):
        open_qm9(path)


def test_conversion_happens_once_and_is_mapped_afterwards(raw, tmp_path, monkeypatch):
    as_whole(raw, monkeypatch)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    path = write_archive(raw, tmp_path / "a.tar.bz2")
    first = open_qm9(path)
    assert first.edges.cutoff == 5.0 and len(first) == 100
    monkeypatch.setattr(qm9, "read", lambda *a, **k: pytest.fail("read a second time"))
    again = open_qm9(path)
    assert torch.equal(again.labels["U0"], first.labels["U0"])
    (saved,) = (tmp_path / "home" / "data").iterdir()
    assert torch.equal(open_qm9(saved).pos, first.pos)


def test_a_race_between_two_conversions_ends_well(raw, tmp_path, monkeypatch):
    as_whole(raw, monkeypatch)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    path = write_archive(raw, tmp_path / "a.tar.bz2")
    check = qm9.check_whole

    def overtaken(found: RawQM9) -> None:
        check(found)
        monkeypatch.setattr(qm9, "check_whole", check)
        open_qm9(path)

    monkeypatch.setattr(qm9, "check_whole", overtaken)
    assert len(open_qm9(path)) == 100
    assert len(list((tmp_path / "home" / "data").iterdir())) == 1


def test_what_is_said_of_the_data_sets_without_torch_is_true():
    for name, store in {"qm9-sample": open_sample(cutoff=None), "qm9": None}.items():
        spec = host.dataset(name)
        assert spec.targets == qm9_published.UNITS and spec.split == QM9_TEST_SHA256
        published = (qm9_published.THEORY, qm9_published.LICENSE, qm9_published.CITATION)
        assert (spec.theory, spec.license, tuple(spec.citation)) == published
        if store is not None:
            assert store.units == spec.targets and store.meta["citation"] == list(spec.citation)


@pytest.mark.slow
def test_the_whole_of_qm9_from_the_package(tmp_path):
    if importlib.util.find_spec("qm9pack") is None:
        pytest.skip("needs the extra qm9")
    code = f"""
import os, time
os.environ["ZOO_HOME"] = {str(tmp_path)!r}
from zoo.data import open_qm9, split
store = open_qm9()
start = time.perf_counter()
again = open_qm9()
assert time.perf_counter() - start < 1, "second opening"
assert len(store) == 130_831 and len(split(store.ids, "test")) == 10_831
"""
    subprocess.run([sys.executable, "-c", code], check=True)
