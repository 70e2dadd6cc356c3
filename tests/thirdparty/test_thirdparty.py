"""Packages of strangers in an environment beside ours: one that does everything, one that does everything wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from environments import HERE, call, machine


@pytest.fixture(scope="module")
def python(environment, wheel_of) -> Path:
    return environment(wheel_of(HERE / "zoo-egnn"), wheel_of(HERE / "zoo-broken"))


@pytest.fixture(scope="module")
def trained(python, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "egnn"
    short = ("--set", "training.budget.steps=30", "--quiet")
    call(python, "-m", "zoo", "train", "egnn-qm9", "--out", out, *short, cwd=out.parent)
    return out


def test_the_zoo_is_the_installed_one(python, tmp_path):
    code = "import zoo, zoo_plugins, zoo_egnn; print(zoo.__file__, zoo_plugins.__file__, zoo_egnn.__file__)"
    paths = call(python, "-c", code, cwd=tmp_path).split()
    assert all(str(python.parent.parent) in path for path in paths)


def test_its_model_is_listed_beside_ours_and_shown(python, tmp_path):
    listing = call(python, "-m", "zoo", "list", cwd=tmp_path)
    assert "egnn-qm9" in listing
    assert "painn-qm9" in listing
    assert "EGNN for the energy" in call(python, "-m", "zoo", "show", "egnn-qm9", cwd=tmp_path)


def test_it_conforms(python, tmp_path):
    sections = [f"--only={name}" for name in ("registration", "shapes", "symmetry", "physics")]
    said = call(python, "-m", "zoo", "check", "zoo-egnn", "--json", *sections, cwd=tmp_path)
    report = json.loads(said[said.index("{"):])
    assert report["passed"]
    assert {row["subject"] for row in report["rows"]} == {"egnn"}
    assert {row["of"] for row in report["rows"]} >= {"features 0e", "features 1o"}


def test_pytest_checks_it_by_an_option(python, tmp_path):
    said = call(python, "-m", "pytest", "--zoo-check=egnn", "--zoo-check-only=shapes.one-atom", cwd=tmp_path)
    assert "1 passed" in said


def test_it_trains_evaluates_and_loads(python, trained, tmp_path):
    said = call(python, "-m", "zoo", "evaluate", trained, "--json", cwd=tmp_path)
    assert json.loads(said[said.index("{"):])["metrics"]
    code = f"""if True:
        import ase.build, zoo
        model = zoo.load({str(trained)!r}, verify="golden")
        print(type(model.backbone).__module__, sorted(model.predict(ase.build.molecule("CH3CH2OH"))))
    """
    assert "zoo_egnn.model ['U0', 'gap'" in call(python, "-c", code, cwd=tmp_path)


def test_it_is_pushed_and_loads_elsewhere_by_its_pin_alone(python, trained, hub, tmp_path):
    author = machine(tmp_path / "author", hub, "hf_writer")
    said = call(python, "-m", "zoo", "push", trained, "zoo-org/egnn", cwd=tmp_path, status=2, **author)
    assert "copy card and weights into its source tree" in said
    # As its author has it: the source tree, with card and weights where its registry says.
    source = shutil.copytree(HERE / "zoo-egnn" / "src", tmp_path / "src", ignore=shutil.ignore_patterns("*.pyc"))
    folder = source / "zoo_egnn" / "cards" / "egnn-qm9"
    for name in ("card.yaml", "model.safetensors"):
        shutil.copy(trained / name, folder)
    said = call(python, "-m", "zoo", "push", folder, "zoo-org/egnn", "--tag", "v1.0", cwd=tmp_path, **author)
    pin = re.search(r"zoo-org/egnn@[0-9a-f]{40}", said)[0]
    assert f"hub: {pin}" in (source / "zoo_egnn" / "registry.yaml").read_text()
    assert {"card.yaml", "model.safetensors", "README.md"} <= set(hub.state.there("zoo-org/egnn"))
    code = f"""if True:
        import ase.build, zoo
        atoms = ase.build.molecule("CH3CH2OH")
        near, far = (zoo.load(name, verify="golden") for name in ({str(trained)!r}, "hf:{pin}"))
        print("same" if near.predict(atoms) == far.predict(atoms) else "other")
        print(type(far.backbone).__module__)
    """
    said = call(python, "-c", code, cwd=tmp_path, **machine(tmp_path / "reader", hub))
    assert "same\nzoo_egnn.model\n" in said


def test_weights_of_its_first_format_still_load(python, trained, tmp_path):
    """Format 1 had another name for the embedding."""
    code = f"""if True:
        import hashlib, pathlib
        import zoo
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file
        from zoo.cards.card import Card
        old = pathlib.Path("old"); old.mkdir()
        state = load_file({str(trained / 'model.safetensors')!r})
        state = {{k.replace("embedding", "atoms"): v for k, v in state.items()}}
        with safe_open({str(trained / 'model.safetensors')!r}, "pt") as file:
            save_file(state, old / "model.safetensors", metadata=file.metadata())
        data = (old / "model.safetensors").read_bytes()
        card = Card.load({str(trained)!r})
        held = card.weights.model_dump() | {{"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
        card.replace(format=1, weights=held).save(old)
        zoo.load("old", verify="golden")
        print("loaded")
    """
    assert "loaded" in call(python, "-c", code, cwd=tmp_path)


def test_a_missing_package_is_named_with_its_command(environment, trained, tmp_path):
    example = HERE.parents[1] / "examples" / "hexane.xyz"
    said = call(environment(), "-m", "zoo", "predict", trained, example, cwd=tmp_path, status=2)
    assert "pip install zoo-egnn" in said


def test_every_broken_plugin_is_a_row_with_its_error(python, tmp_path):
    said = call(python, "-m", "zoo", "plugins", "--json", cwd=tmp_path)
    records = {r["name"]: r for r in json.loads(said[said.index("["):])}
    assert "a_package_that_does_not_exist" in records["broken-import"]["error"]
    assert "zoo_architecture" in records["broken-hook"]["error"]
    assert "twin-a" in records["twin-b"]["error"]
    assert "twin-b" in records["twin-a"]["error"]
    assert records["egnn"]["error"] is None
    assert all(records[name]["error"] is None for name in ("schnet", "painn", "nequip", "dimenet", "gemnet"))


def test_a_bad_card_is_explained_and_harms_no_other(python, tmp_path):
    said = call(python, "-m", "zoo", "show", "broken-qm9", cwd=tmp_path, status=2)
    assert "readuot" in said
    assert "readout" in said
    assert "Traceback" not in said


def test_checking_a_broken_package_says_what_is_wrong(python, tmp_path):
    said = call(python, "-m", "zoo", "check", "zoo-broken", cwd=tmp_path, status=2)
    assert "a_package_that_does_not_exist" in said
    assert "Traceback" not in said
