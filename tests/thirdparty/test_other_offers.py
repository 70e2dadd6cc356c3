"""A plugin without an architecture: its readout, data set, listener, source of models and importer, in use."""

from __future__ import annotations

import json
from pathlib import Path

import ase
import ase.io
import pytest
import torch
from environments import HERE, ROOT, call
from safetensors.torch import load_file, save_file


@pytest.fixture(scope="module")
def python(environment, wheel_of) -> Path:
    return environment(wheel_of(HERE / "zoo-toys"))


@pytest.fixture(scope="module")
def trained(python, tmp_path_factory) -> Path:
    """Below a drawer; the diary of the run lies beside it."""
    drawer = tmp_path_factory.mktemp("drawer")
    call(python, "-m", "zoo", "train", "morse-toy", "--out", drawer / "toy", "--quiet", cwd=drawer,
         TOYS_DIARY=str(drawer / "diary.jsonl"))
    return drawer / "toy"


def test_what_it_offers_is_listed(python, tmp_path):
    said = call(python, "-m", "zoo", "plugins", "--json", cwd=tmp_path)
    record = next(r for r in json.loads(said[said.index("["):]) if r["name"] == "toys")
    assert record["error"] is None
    assert record["warnings"] == []
    assert {kind: sorted(names) for kind, names in record["offers"].items() if kind != "registries"} == {
        "readouts": ["peak"], "datasets": ["morse"], "fetchers": ["drawer"],
        "importers": ["toynet"]}
    assert "zoo_train_event" in record["hooks"]


def test_its_data_set_and_readout_make_a_model(python, trained, tmp_path):
    """The readout's own keyword comes from the card, and its output is the largest of the atoms' values."""
    code = f"""if True:
        import ase, torch, zoo
        model = zoo.load({str(trained)!r}, verify="golden", dtype="float64")
        readout = model.readouts["level"]
        graph = zoo.Graph.from_atoms(ase.Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.3]]), dtype=torch.float64)
        graph = model.with_vectors(graph)
        h = model.backbone(graph)
        atoms = readout.net(model.layout.scalars(h))[:, 0]
        made = torch.logsumexp(2.0 * atoms, 0) / 2.0
        print(type(readout).__module__, readout.sharpness, bool(torch.isclose(readout(h, graph)[0], made)))
        from zoo.data import open_dataset
        print("morse", len(open_dataset("morse")), sorted(open_dataset("morse").labels))
    """
    said = call(python, "-c", code, cwd=tmp_path)
    assert "zoo_toys.readouts 2.0 True" in said
    assert "morse 120 ['energy', 'level']" in said


def test_the_model_conforms_with_a_readout_of_its_own(python, trained, tmp_path):
    only = [f"--only={name}" for name in ("symmetry", "card", "physics.batch")]
    said = call(python, "-m", "zoo", "check", trained, "--json", *only, cwd=tmp_path)
    report = json.loads(said[said.index("{"):])
    assert report["passed"]
    assert "level" in {row["of"] for row in report["rows"] if row["check"] == "symmetry.rotation"}


def test_its_data_can_be_named_with_a_place(python, trained, tmp_path):
    (tmp_path / "stretches.txt").write_text("1.0\n1.1\n")
    said = call(python, "-m", "zoo", "evaluate", trained, "--data", "stretches.txt", "--split", "all", "--json",
                "--allow-overlap", cwd=tmp_path)
    assert {m["n"] for m in json.loads(said[said.index("{"):])["metrics"]} == {6}


def test_its_listener_hears_the_run(trained):
    events = [json.loads(line) for line in (trained.parent / "diary.jsonl").read_text().splitlines()]
    names = [e["event"] for e in events]
    assert names[0] == "start"
    assert names[-1] == "end"
    assert {"log", "evaluate", "checkpoint"} <= set(names)
    assert [e["step"] for e in events if e["event"] == "evaluate"] == [30, 60]
    assert all("level.mae" in e for e in events if e["event"] == "evaluate")


def test_its_scheme_is_an_address_of_models(python, trained, tmp_path):
    ase.io.write(tmp_path / "co.xyz", ase.Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]]))
    home = {"TOYS_DRAWER": str(trained.parent), "ZOO_HOME": str(tmp_path / "home")}
    near = call(python, "-m", "zoo", "predict", trained, "co.xyz", cwd=tmp_path)
    far = call(python, "-m", "zoo", "predict", "drawer:toy", "co.xyz", cwd=tmp_path, **home)
    assert "level" in far
    assert far.splitlines()[-1] == near.splitlines()[-1]
    absent = call(python, "-m", "zoo", "predict", "drawer:nothing", "co.xyz", cwd=tmp_path, status=2, **home)
    assert "drawer" in absent
    assert "Traceback" not in absent


def test_its_card_of_foreign_weights_loads_once_their_package_is_installed(python, tmp_path):
    """The card and the importer are its own; the weights are in a third package, which nobody imports."""
    home = {"ZOO_HOME": str(tmp_path / "home")}
    shown = call(python, "-m", "zoo", "show", "toy-foreign", cwd=tmp_path, **home)
    assert "CC0-1.0" in shown and "T. Oy" in shown and "pip install --no-deps 'toynet>=1,<2'" in shown
    absent = call(python, "-m", "zoo", "pull", "toy-foreign", cwd=tmp_path, status=2, **home)
    assert "Fix: pip install --no-deps 'toynet>=1,<2'" in absent and "Traceback" not in absent
    site = tmp_path / "site"
    theirs = load_file(ROOT / "tests" / "reference" / "schnet.safetensors")
    state = {k.replace("state.", "toy."): v for k, v in theirs.items() if k.startswith("state.")}
    (site / "toynet").mkdir(parents=True)
    save_file({**state, "toy.embedding.weight.version": torch.tensor(1.0)}, site / "toynet" / "weights.safetensors")
    (site / "toynet" / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "toynet-1.0.dist-info").mkdir()
    (site / "toynet-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toynet\nVersion: 1.0\n")
    home["PYTHONPATH"] = str(site)
    assert "here, in toynet 1.0" in call(python, "-m", "zoo", "list", cwd=tmp_path, **home)
    ase.io.write(tmp_path / "co.xyz", ase.Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.2]]))
    assert "energy" in call(python, "-m", "zoo", "predict", "toy-foreign", "co.xyz", cwd=tmp_path, **home)
