"""The kit itself: names, reports, exemptions, the command line and pytest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from zoo.cli import app
from zoo.conformance import check
from zoo.conformance.checks import Check, found
from zoo.conformance.find import find
from zoo.conformance.rendering import write_html
from zoo.conformance.report import Report, Row
from zoo.conformance.run import CHECKS, check_subjects, chosen
from zoo.errors import PluginError, UnknownNameError, ZooError
from zoo.loading.models import create, save

run = CliRunner()


@pytest.fixture
def saved(zoo_of_faults, tmp_path) -> Path:
    """A model folder whose backbone has a hard cut-off, as its card admits."""
    torch.manual_seed(0)
    model = create("hardcutoff", elements=["H", "C", "N", "O", "F"], pbc=False, dtype="float64")
    save(model, tmp_path / "saved", name="hard-qm9",
         exemptions=[{"check": "physics.smooth-value", "reason": "a published model without an envelope"}])
    return tmp_path / "saved"


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_package_is_all_it_offers(zoo_of_faults):
    names = [subject.name for subject in find("zoo-faults")]
    assert {"sound", "batchleak", "hardcutoff"} <= set(names)
    assert "painn" not in names


def test_a_model_is_found_by_name_and_by_folder(saved):
    assert find("painn-qm9")[0].architecture.name == "painn"
    assert find(saved)[0].name == "hard-qm9"
    assert find("painn")[0].trained is None


def test_the_source_of_a_plugin_is_its_package(zoo_of_faults, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "zoo-faults"\n')
    assert "sound" in [s.name for s in find(tmp_path)]
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "zoo-elsewhere"\n')
    with pytest.raises(PluginError, match=r"not installed.*pip install -e"):
        find(tmp_path)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="'painn'"):
        find("pain")
    with pytest.raises(UnknownNameError, match=r"'physics\.stress'"):
        chosen(only=["physics.stres"])
    with pytest.raises(ZooError, match="--all"):
        run.invoke(app, ["check"], catch_exceptions=False, standalone_mode=False)


def test_sections_and_checks_can_be_chosen():
    assert {c.section for c in chosen(only=["cost"])} == {"cost"}
    assert "engineering.overfit" not in [c.name for c in chosen(skip=["engineering.overfit"])]
    assert len(chosen()) == len(CHECKS)
    assert {c.section for c in CHECKS} == {"registration", "shapes", "symmetry", "physics", "engineering", "card",
                                           "expressivity", "cost"}


def test_subjects_of_one_design_share_what_depends_on_it_alone(saved):
    asked = []

    def measure(subject):
        asked.append(subject.name)
        return found(subject.name != "sound", "fine")

    ours = [Check("engineering.seed", "a claim", measure, of_design=True)]
    subjects = [find("hardcutoff")[0], find(saved)[0], find("sound")[0]]
    assert subjects[0].design == subjects[1].design != subjects[2].design
    rows = check_subjects("three", subjects, ours).rows
    assert asked == ["hardcutoff", "sound"]
    assert [(row.subject, row.status) for row in rows] == [("hardcutoff", "pass"), ("hard-qm9", "pass"),
                                                           ("sound", "fail")]
    assert rows[1].detail == "fine; measured on hardcutoff, of the same design"
    asked.clear()
    check_subjects("two", subjects[:2], [Check("engineering.seed", "a claim", measure)])
    assert asked == ["hardcutoff", "hard-qm9"]


def test_a_model_of_other_elements_is_not_trained_on_what_it_does_not_know(zoo_of_faults, tmp_path):
    torch.manual_seed(0)
    model = create("sound", elements=["Si"], dtype="float64")
    save(model, tmp_path / "silicon", name="sound-si")
    assert find(tmp_path / "silicon")[0].design == find("sound")[0].design
    report = check(tmp_path / "silicon", only=["engineering.overfit", "engineering.resume", "engineering.export"])
    assert [row.status for row in report.rows] == ["not applicable", "not applicable", "pass"]
    assert "H, C, N, O, F, not all of them in the domain" in report.rows[0].detail


def test_export_is_judged_where_it_is_declared(yard):
    yard.simple("zoo-shy", """
        @hookimpl
        def zoo_architectures():
            return [Architecture(name="shy", factory="broken:Sound")]
    """)
    row = check("shy", only=["engineering.export"]).rows[0]
    assert row.status == "not applicable"
    assert "declares export None" in row.detail


# -- rows ----------------------------------------------------------------------------------------------------------


def test_an_exemption_stands_beside_what_was_measured(saved):
    report = check(saved, only=["physics.smooth-value", "physics.smooth-force", "card.exemptions"])
    exempt, forces, declared = (report.rows_of(name)[0] for name in (
        "physics.smooth-value", "physics.smooth-force", "card.exemptions"))
    assert exempt.status == "exempt"
    assert exempt.measured > exempt.bound
    assert "without an envelope" in exempt.detail
    assert forces.status == "fail"
    assert declared.status == "pass"


def test_an_exemption_from_nothing_is_a_fault(saved):
    from zoo.cards.card import Card

    card = Card.load(saved)
    card.replace(exemptions=[{"check": "physics.smoothness", "reason": "a misspelt one"}]).save(saved)
    row = check(saved, only=["card.exemptions"]).rows[0]
    assert row.status == "fail"
    assert "physics.smoothness" in row.detail


def test_a_card_that_declares_no_parity_is_not_judged_by_reflections(tmp_path):
    """A network of SO(3) rotates as it should, and gives mirror images different energies."""
    torch.manual_seed(0)
    model = create("nequip", elements=["H", "C", "O"], pbc=False, group="SO3", parity=False, num_layers=3, lmax=1,
                   num_features=4, radial_width=4, self_connection="linear")
    save(model, tmp_path / "claims-parity", name="claims-parity")
    save(model, tmp_path / "so3", name="so3", signature={"parity": "none", "smooth": 1})
    wanted = ["symmetry.rotation", "symmetry.reflection", "symmetry.precision"]
    claimed = check(tmp_path / "claims-parity", only=["symmetry.reflection"]).rows_of("symmetry.reflection")
    assert "fail" in {row.status for row in claimed}
    report = check(tmp_path / "so3", only=wanted)
    assert report.passed
    mirrored = report.rows_of("symmetry.reflection")
    assert {row.status for row in mirrored} == {"not applicable"} and max(row.measured for row in mirrored) > 1e-3
    assert "mirror images may differ" in mirrored[0].detail


def test_what_is_not_applicable_says_why(zoo_of_faults):
    report = check("sound", only=["card.sha256", "shapes.device"])
    assert all(row.detail for row in report.rows)
    assert report.rows_of("card.sha256")[0].status == "not applicable"
    assert report.passed


def test_other_bytes_under_the_card_are_seen(saved):
    file = saved / "model.safetensors"
    assert check(saved, only=["card.sha256", "card.golden"]).passed
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    assert check(saved, only=["card.sha256"]).rows[0].status == "fail"


def test_a_backbone_that_cannot_be_made_fails_every_row_and_ends_nothing(yard):
    yard.simple("zoo-bad", """
        @hookimpl
        def zoo_architectures():
            return [Architecture(name="bad", factory="zoo_bad.model:Absent")]
    """)
    report = check("bad", only=["shapes", "registration.factory"])
    assert {row.status for row in report.rows} <= {"fail", "not applicable"}
    assert "zoo_bad.model" in report.rows_of("registration.factory")[0].detail


@pytest.mark.parametrize(("body", "row"), [("import torch", "registration.torch-free"),
                                           ("import time; time.sleep(0.06)", "registration.fast"),
                                           ("print('hello')", "registration.quiet")])
def test_a_hook_module_that_misbehaves_is_seen(yard, body, row):
    yard.simple("zoo-heavy", f"""
        {body}

        @hookimpl
        def zoo_architectures():
            return [Architecture(name="heavy", factory="broken:Sound")]
    """)
    found = {r.check: r.status for r in check("heavy", only=["registration"]).rows}
    assert found.pop(row) == "fail"
    found.pop("registration.fast", None)
    assert set(found.values()) == {"pass"}


def test_forces_that_follow_from_no_energy_are_still_checked(zoo_of_faults, tmp_path):
    """A model without an energy gets a random one on its backbone, so that its physics is seen."""
    torch.manual_seed(0)
    targets = {"gap": {"readout": "intensive", "unit": "eV"}}
    model = create("wrongforcesign", elements=["H", "C", "N", "O", "F"], pbc=False, dtype="float64", targets=targets)
    save(model, tmp_path / "gap", name="gap-qm9")
    assert "fail" in {row.status for row in check(tmp_path / "gap", only=["physics.forces"]).rows}


# -- out -----------------------------------------------------------------------------------------------------------


def test_the_command_ends_with_status_2_and_json_for_programs(zoo_of_faults):
    good = run.invoke(app, ["check", "sound", "--only", "symmetry.translation", "--json"])
    assert good.exit_code == 0
    report = json.loads(good.stdout)
    assert report["passed"]
    assert report["rows"][0]["check"] == "symmetry.translation"
    bad = run.invoke(app, ["check", "readspositions", "--only", "symmetry.translation"])
    assert bad.exit_code == 2
    assert "does not conform" in bad.stdout
    assert "symmetry.translation" in bad.stdout


def test_the_page_holds_every_row_and_no_markup_of_others(zoo_of_faults, tmp_path):
    report = check("readspositions", only=["symmetry.translation", "shapes"])
    page = write_html(report, tmp_path / "report.html").read_text()
    for name, count in Counter(row.check for row in report.rows).items():
        assert page.count(name) == count
    assert len(re.findall(r">fail\s*<", page)) == len(report.failures) > 0
    assert "does not conform" in page and f"torch {report.environment['torch']}" in page
    assert "http" not in page
    row = Row(subject="<i>own</i>", check="a.b", title="", status="fail", detail="<script>x</script> [red]y[/red]")
    page = write_html(Report("<b>name</b>", (row,)), tmp_path / "report.html").read_text()
    assert not {"<script>", "<i>", "<b>"} & set(re.findall(r"<\w+>", page)) and "[red]y[/red]" in page


def test_pytest_runs_the_checks_as_tests(tmp_path):
    plugin = ["-p", "no:zoo", "-p", "zoo.conformance.pytest_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugin, "--zoo-check=painn", "--zoo-check-only=shapes", "-rs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "160"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed, 1 skipped" in done.stdout


def test_the_pytest_plugin_imports_nothing_heavy():
    code = "import zoo.conformance.pytest_plugin, zoo.conformance, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
