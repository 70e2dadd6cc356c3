"""zoo relax, zoo md and zoo lab on the command line, with a small untrained model."""

from __future__ import annotations

import json
import signal

import ase.build
import ase.io
import pytest
import torch
from typer.testing import CliRunner

from zoo.cards.card import Card
from zoo.errors import ZooError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A card folder: repulsion of nuclei as a prior holds the untrained model together long enough."""
    from zoo.loading.models import create, save

    path = tmp_path_factory.mktemp("simulated")
    torch.manual_seed(0)
    save(create("schnet", preset="small", elements=["H", "O", "Cu"], name="sim", cutoff=3.5), path / "sim",
         domain={"elements": ["H", "O", "Cu"], "pbc": True, "bonds": {"H-O": [0.9, 1.05]}, "max_force": 50.0})
    ase.io.write(path / "water.xyz", ase.build.molecule("H2O"))
    return path


def zoo(*arguments):
    from zoo.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)


def md(folder, output, *more):
    return zoo("md", folder / "water.xyz", "--model", folder / "sim", "--output", output, "--every", 5, "--temperature",
               50, *more)


def test_relax_writes_structures_and_says_which_did_not_converge(folder, tmp_path):
    output = tmp_path / "done.extxyz"
    done = zoo("relax", folder / "water.xyz", "--model", folder / "sim", "--steps", 3, "--fmax", 1e-6, "-o", output,
               "--json")
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)["results"]
    assert row["converged"] is False and row["steps"] == 3 and row["largest_move_A"] > 0
    assert ase.io.read(output).get_potential_energy() == pytest.approx(row["energy_eV"], abs=1e-6)
    easy = zoo("relax", folder / "water.xyz", "--model", folder / "sim", "--fmax", 1000, "-o", output)
    assert easy.exit_code == 0 and "H2O" in easy.stdout


def test_a_run_that_blows_up_ends_soon_with_status_2_a_log_and_the_reason(folder, tmp_path):
    done = md(folder, tmp_path / "wild.extxyz", "--steps", 100_000, "--timestep", 1000, "--replicas", 2)
    assert done.exit_code == 2
    assert "run 0 of 2 blew up" in done.output and "Fix: use a shorter --timestep" in done.output
    assert (tmp_path / "wild.csv").read_text().count("\n") >= 3
    assert len(ase.io.read(tmp_path / "wild-0.extxyz", ":")) >= 1 and (tmp_path / "wild.restart.npz").is_file()


def test_relax_keeps_what_it_can_and_names_the_rest(folder, tmp_path):
    charged = ase.build.molecule("H2O")
    charged.info["charge"] = 1
    frames = [ase.build.molecule("H2O"), charged, ase.build.molecule("CH4"), ase.build.molecule("H2O")]
    ase.io.write(tmp_path / "some.xyz", frames)
    (tmp_path / "broken.xyz").write_text("1\n\nD 0 0 0\n")
    done = zoo("relax", tmp_path / "some.xyz", tmp_path / "broken.xyz", "-m", folder / "sim", "--fmax", 1000, "--json")
    assert done.exit_code == 2
    rows = {row["structure"]: row for row in json.loads(done.stdout)["results"]}
    words = {"some.xyz#1": "has charge 1", "some.xyz#2": "C (atom 0) is outside", "broken.xyz": "symbol of an element"}
    assert len(rows) == 5 and all(word in rows[label]["error"] for label, word in words.items())
    assert all(f"error: {label}: " in done.stderr for label in words)
    assert len(ase.io.read(tmp_path / "some-relaxed.extxyz", index=":")) == 2


@pytest.mark.parametrize(("name", "output"), [
    ("conf_0.5.xyz", "conf_0.5-relaxed.extxyz"), ("a.b@3.extxyz", "a.b@3-relaxed.extxyz"),
    ("x.xyz.gz", "x-relaxed.extxyz"), ("water.old.XYZ", "water.old-relaxed.extxyz"),
])
def test_relax_cuts_the_ending_of_the_format_only(folder, tmp_path, name, output):
    ase.io.write(tmp_path / name, ase.build.molecule("H2O"), format="extxyz")
    assert zoo("relax", tmp_path / name, "-m", folder / "sim", "--fmax", 1000).exit_code == 0
    assert ase.io.read(tmp_path / output, do_not_split_by_at_sign=True).get_chemical_formula() == "H2O"


def test_relax_keeps_an_older_result_of_the_same_name(folder, tmp_path, caplog):
    for name, what in (("m.xyz", "H2O"), ("m.json", "H2"), ("m.json", "H2")):
        ase.io.write(tmp_path / name, ase.build.molecule(what))
        assert zoo("relax", tmp_path / name, "-m", folder / "sim", "--fmax", 1000).exit_code == 0
    found = {path.name: ase.io.read(path).get_chemical_formula() for path in tmp_path.glob("*relaxed*")}
    assert found == {"m-relaxed.extxyz": "H2", "m-relaxed.1.extxyz": "H2O"}
    assert caplog.text.count("the older file is now") == 1


def test_a_molecule_in_a_box_needs_no_box(folder, tmp_path):
    from zoo.loading.models import create, save

    save(create("schnet", preset="small", elements=["H", "O"], name="molecular", cutoff=3.5), tmp_path / "molecular",
         domain={"elements": ["H", "O"], "pbc": False})
    boxed = ase.build.molecule("H2O", vacuum=4.0)
    boxed.pbc = True
    boxed.positions -= boxed.positions[0]
    boxed.wrap()
    ase.io.write(tmp_path / "POSCAR", boxed, format="vasp")
    refused = zoo("relax", tmp_path / "POSCAR", "-m", tmp_path / "molecular", "--steps", 0)
    assert refused.exit_code == 2 and "--no-pbc" in refused.stderr
    zoo("relax", tmp_path / "POSCAR", "-m", tmp_path / "molecular", "--steps", 0, "--no-pbc")
    alone = ase.io.read(tmp_path / "POSCAR-relaxed.extxyz", format="extxyz")
    assert not alone.pbc.any() and alone.get_all_distances().max() == pytest.approx(1.526, abs=1e-2)


def test_dynamics_in_two_parts_is_dynamics_in_one(folder, tmp_path):
    whole = md(folder, tmp_path / "whole.extxyz", "--steps", 20)
    assert whole.exit_code == 0, whole.output
    assert md(folder, tmp_path / "parts.extxyz", "--steps", 9).exit_code == 0
    again = md(folder, tmp_path / "parts.extxyz", "--steps", 20)
    assert isinstance(again.exception, ZooError) and "--restart" in str(again.exception)
    other = md(folder, tmp_path / "parts.extxyz", "--steps", 20, "--restart", "--timestep", 1.0)
    assert isinstance(other.exception, ZooError) and "timestep" in str(other.exception)
    assert md(folder, tmp_path / "parts.extxyz", "--steps", 20, "--restart").exit_code == 0
    for suffix in (".extxyz", ".csv"):
        assert (tmp_path / f"parts{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert len(ase.io.read(tmp_path / "whole.extxyz", ":")) == 5
    assert (tmp_path / "whole.png").stat().st_size > 5000


def test_a_command_keeps_freed_memory_in_its_process_and_a_library_does_not(folder, tmp_path, monkeypatch):
    from zoo.loading.models import load
    from zoo.process import machine

    kept = []
    monkeypatch.setattr(machine, "keep_memory", lambda: kept.append(True) or True)
    calculator = load(folder / "sim").calculator()
    calculator.get_potential_energy(ase.build.molecule("H2O"))
    assert not kept
    start = folder / "water.xyz"
    for arguments in (("md", start, "-m", folder / "sim", "--steps", 1, "-o", tmp_path / "kept.extxyz"),
                      ("relax", start, "-m", folder / "sim", "--steps", 1, "-o", tmp_path / "relaxed.extxyz"),
                      ("predict", folder / "sim", start)):
        kept.clear()
        zoo(*arguments)
        assert kept == [True], arguments[0]


def test_leaving_the_training_data_is_said(folder, tmp_path):
    done = md(folder, tmp_path / "hot.extxyz", "--steps", 60, "--temperature", 30000)
    assert "warning" in done.output and "H-O bond" in done.output


def test_an_unknown_element_is_refused(folder, tmp_path):
    ase.io.write(tmp_path / "methane.xyz", ase.build.molecule("CH4"))
    done = zoo("md", tmp_path / "methane.xyz", "--model", folder / "sim", "--output", tmp_path / "x.extxyz")
    assert isinstance(done.exception, ZooError) and "C (atom 0)" in str(done.exception)
    assert not (tmp_path / "x.extxyz").exists()


def test_figures_go_into_the_card(folder, tmp_path):
    ase.io.write(tmp_path / "copper.cif", ase.build.bulk("Cu"))
    done = zoo("lab", "drift", folder / "sim", folder / "water.xyz", "--picoseconds", 0.005, "--equilibrate", 0,
               "--temperature", 10, "--write")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["length_ps"] == 0.005 and report["dtype"] == "float64"
    done = zoo("lab", "stability", folder / "sim", folder / "water.xyz", "--picoseconds", 0.02, "--seeds", 2, "--write")
    assert done.exit_code == 0, done.output
    written = Card.load(folder / "sim").stability
    assert written["nve"] == report and set(written["nvt"]["at"]) == {"300 K", "600 K"}


def test_temperatures_join_those_of_the_same_settings_only(folder):
    ask = ("lab", "stability", folder / "sim", folder / "water.xyz", "--seeds", 1, "--write")
    for temperature, length, known in ((20, 0.01, {"20 K"}), (30, 0.01, {"20 K", "30 K"}), (40, 0.02, {"40 K"})):
        done = zoo(*ask, "--temperatures", temperature, "--picoseconds", length)
        assert done.exit_code == 0, done.output
        assert set(json.loads(done.stdout)["at"]) == {f"{temperature} K"}
        assert set(Card.load(folder / "sim").stability["nvt"]["at"]) == known


def test_a_scan_is_a_table_a_picture_and_figures_in_the_card(folder, tmp_path):
    pytest.importorskip("matplotlib")
    ask = ("lab", "scan", folder / "sim", folder / "water.xyz")
    done = zoo(*ask, "--output", tmp_path / "scan.png", "--write")
    assert done.exit_code == 0, done.output
    assert "sim on H2O" in done.stdout and "rises" in done.stdout
    written = Card.load(folder / "sim").stability["scan"]
    report = json.loads(zoo(*ask, "--json", "--shortest", 0.6).stdout)
    assert written["bonds"].keys() == report["bonds"].keys() and report["dtype"] == "float64"
    assert all(row["scanned"][0] == 0.6 for row in report["bonds"].values())
    assert (tmp_path / "scan.png").stat().st_size > 5000


def test_phonons_go_into_the_card_and_a_picture(folder, tmp_path):
    pytest.importorskip("matplotlib")
    ase.io.write(tmp_path / "copper.cif", ase.build.bulk("Cu", cubic=True))
    ask = ("lab", "phonons", folder / "sim", tmp_path / "copper.cif", "--no-relax", "--supercell")
    done = zoo(*ask, 2, "--displace", 0.001, "--output", tmp_path / "bands.png", "--write")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["structure"] == "Cu" and report["supercell"] == [2, 2, 2] and report["relaxed"] is False
    assert report["finite_displacement"]["largest_difference_THz"] < 0.01
    assert report["finite_displacement"]["at"] == ["L", "X", "Γ"]
    assert ("imaginary" in done.stderr) == (report["imaginary"] > 0)
    assert Card.load(folder / "sim").stability["phonons"] == report
    assert (tmp_path / "bands.png").stat().st_size > 5000
    for wrong in ("0", "2,2", "2,x,2"):
        assert "--supercell" in str(zoo(*ask, wrong).exception)
    assert "first derivative only" not in done.stderr
    Card.load(folder / "sim").replace(signature={"smooth": 1}).save(folder / "sim")
    assert "first derivative only" in zoo(*ask, 1).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_go_on(folder, tmp_path, monkeypatch, number):
    from zoo.simulation.recording import Recorder

    record = Recorder.record

    def record_and_interrupt(recorder):
        record(recorder)
        if recorder._dynamics.steps_done == 15:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    monkeypatch.setattr(Recorder, "record", record_and_interrupt)
    done = md(folder, tmp_path / "t.extxyz", "--steps", 100_000)
    assert done.exit_code == 130 and "--restart" in done.output
    assert signal.getsignal(number) is before
    monkeypatch.setattr(Recorder, "record", record)
    assert md(folder, tmp_path / "t.extxyz", "--steps", 25, "--restart").exit_code == 0
    steps = [int(frame.info["step"]) for frame in ase.io.read(tmp_path / "t.extxyz", ":")]
    assert steps == [0, 5, 10, 15, 20, 25]
