"""`zoo list`, `show`, `plugins`, `env`: what they print, how they fail, and that they are light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

import zoo.cli
from zoo.cards.card import Card
from zoo.properties.card_results import describe
from zoo.registry import host

HEAVY = ("torch", "e3nn", "torch_geometric", "huggingface_hub", "ase", "scipy", "safetensors")
SHA = "a" * 64
COMMIT = "0123456789" * 4

CARD = f"""\
schema: 1
name: painn-qm9
summary: A small PaiNN
architecture: painn
config: {{cutoff: 5.0, channels: 64}}
targets:
  U0: {{readout: energy, unit: eV, reference: fitted, description: internal energy at 0 K}}
  gap: {{readout: intensive, unit: eV}}
derivatives: [forces]
references:
  U0: {{kind: fitted, unit: eV, values: {{H: -13.6, C: -1029.1}}}}
domain: {{elements: [H, C], pbc: false, charge: 0}}
data: {{dataset: qm9, theory: B3LYP}}
weights: {{file: model.safetensors, sha256: {SHA}, bytes: 1234, parameters: 345678}}
metrics:
  - {{split: test, target: gap, metric: mae, value: 0.11, unit: eV, n: 10831, by: zoo evaluate, date: 2026-11-23}}
  - {{split: test, target: U0, metric: mae, value: 31.25, unit: meV, n: 10831, by: zoo evaluate, date: 2026-11-23}}
  - {{split: val, target: U0, metric: mae, value: 30.5, unit: meV, n: 10000, by: zoo evaluate, date: 2026-11-23}}
limits: Not for ions.
"""


@pytest.fixture
def collection(tmp_path, monkeypatch) -> Path:
    """A user's registry with a good model, one without weights file, one known by its pin, and a broken card."""
    home = tmp_path / "home"
    cards = {"painn-qm9": CARD, "painn-new": CARD.replace("painn-qm9", "painn-new"),
             "broken": CARD.replace("painn-qm9", "broken").replace("limits", "limts")}
    for name, text in cards.items():
        (home / name).mkdir(parents=True)
        (home / name / "card.yaml").write_text(text)
    (home / "painn-qm9" / "model.safetensors").write_bytes(b"")
    models = {name: {"card": name} for name in cards} | {"far": {"hub": f"org/repo@{COMMIT}"}}
    registry = {"schema": 1, "models": models, "aliases": {"best": "painn-qm9"}}
    (home / "registry.yaml").write_text(yaml.safe_dump(registry))
    monkeypatch.setenv("ZOO_HOME", str(home))
    monkeypatch.setenv("ZOO_PLUGINS", "painn,schnet")
    host.current.cache_clear()
    yield home
    host.current.cache_clear()


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process."""
    with pytest.raises(SystemExit) as caught:
        zoo.cli.main(arguments)
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


# -- light ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [
    ["list"], ["show", "painn"], ["show", "qm9"], ["show", "--schema"], ["plugins"], ["env"], ["--help"],
])
def test_describing_imports_nothing_heavy(arguments):
    code = ("import sys, atexit; from zoo.cli import main\n"
            f"atexit.register(lambda: print('HEAVY', [m for m in {HEAVY} if m in sys.modules]))\nmain({arguments})")
    done = run_python(code)
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)


# -- list -------------------------------------------------------------------------------------------------------


def test_list_shows_each_model_and_the_errors_of_bad_ones(collection, capsys):
    code, out, err = run(capsys, "list")
    assert code == 0
    line = next(line for line in out.splitlines() if "painn-qm9" in line)
    for part in ("(best)", "qm9", "U0 gap forces", "345,678", "U0 31.25 meV", "here", "user"):
        assert part in line
    assert "none yet" in next(line for line in out.splitlines() if "painn-new" in line)
    assert "error" in next(line for line in out.splitlines() if "broken" in line)
    assert "unknown key 'limts'; did you mean 'limits'?" in err and "broken/card.yaml:19" in err
    assert "far: 'far' is known by its pin" in err


def test_list_as_json_is_one_row_a_model(collection, capsys):
    code, out, _ = run(capsys, "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and sorted(rows) == ["broken", "far", "painn-new", "painn-qm9"]
    row = rows["painn-qm9"]
    assert row["targets"] == {"U0": "eV", "gap": "eV"} and row["aliases"] == ["best"] and row["weights"] == "here"
    assert (row["metric"]["target"], row["metric"]["value"], row["metric"]["split"]) == ("U0", 31.25, "test")
    assert rows["far"]["hub"].endswith(COMMIT) and "limts" in rows["broken"]["error"] and row["error"] is None


def test_list_filters(collection, capsys):
    def names(*arguments):
        return [row["name"] for row in json.loads(run(capsys, "list", "--json", *arguments)[1])]

    assert names("*-qm9") == ["painn-qm9"] == names("qm9")
    assert names("--target", "gap") == ["painn-new", "painn-qm9"]
    assert names("-a", "painn", "-d", "qm9", "--plugin", "painn") == ["painn-new", "painn-qm9"]
    assert names("--architecture", "schnet") == []
    assert "No model matches" in run(capsys, "list", "nothing")[1]


# -- show -------------------------------------------------------------------------------------------------------


def test_show_says_what_the_numbers_mean_and_how_to_get_them(collection, capsys):
    code, out, _ = run(capsys, "show", "best")
    assert code == 0
    for part in ("painn-qm9", "A small PaiNN", "geometric-zoo", "H C", "molecules only", "345,678", SHA,
                 "eV, internal energy at 0 K, total: atomic references fitted on the training set are added back",
                 "eV/Å, derivative of the energy", "31.25 meV", "10,831", "Not for ions.", 'zoo.load("painn-qm9")',
                 "zoo predict painn-qm9 molecules.xyz"):
        assert part in out, part


def test_show_of_a_folder_loads_by_path_and_as_json_is_the_card(collection, capsys, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "card.yaml").write_text(CARD)
    assert f'zoo.load("{loose}")' in run(capsys, "show", str(loose))[1]
    assert Card.from_dict(json.loads(run(capsys, "show", str(loose), "--json")[1])) == Card.from_text(CARD)


def test_show_describes_each_measurement_in_one_line_and_keeps_what_it_does_not_know(capsys):
    code, shown, _ = run(capsys, "show", "painn-acac")
    assert code == 0
    assert re.search(r"^NVE, C5H8O2, 10 ps in steps of 0\.5 fs, float64: energy drifts by \S+ meV/atom$", shown, re.M)
    assert re.search(r"^NVT, C5H8O2, 10 ps: bonds are kept by \d+ of 10 at 300 K.*, \d+ of 10 at 600 K", shown, re.M)
    assert describe({"nve": {"structure": "He"}, "mine": [1]}) == 'nve: {"structure": "He"}\nmine: [1]'
    runs = {"300 K": {"survived": 2, "of": 2}, "600 K": {"survived": 0, "of": 3, "lost": {"C-H": 2, "forces": 1}}}
    line = describe({"nvt": {"structure": "CH4", "length_ps": 10.0, "at": runs}})
    assert line.endswith("bonds are kept by 2 of 2 at 300 K, 0 of 3 at 600 K (ended at C-H 2, forces 1)")


def test_show_of_an_architecture_prints_presets_that_a_card_can_use(collection, capsys):
    out = run(capsys, "show", "painn")[1]
    for part in ("zoo_plugins.painn.model:PaiNN", "preset paper", "preset small", "Schütt", "painn-new painn-qm9"):
        assert part in out
    config = yaml.safe_load(run(capsys, "show", "painn", "--preset", "paper")[1])["config"]
    assert config == dict(host.architecture("painn").presets["paper"])
    as_json = json.loads(run(capsys, "show", "painn", "--preset", "paper", "--json")[1])
    assert as_json == {"config": config}
    assert json.loads(run(capsys, "show", "painn", "--json")[1])["factory"] == "zoo_plugins.painn.model:PaiNN"


def test_show_of_a_data_set_names_its_properties(capsys):
    out = run(capsys, "show", "qm9")[1]
    assert "U0 [eV]" in out and "Cv [cal/mol/K]" in out and "CC0-1.0" in out


def test_show_schema_is_a_json_schema(capsys):
    schema = json.loads(run(capsys, "show", "--schema")[1])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(Card.from_text(CARD).to_dict(), schema)


@pytest.mark.parametrize(("arguments", "words"), [
    (["show", "pain-qm9"], "no model, architecture or data set 'pain-qm9'; did you mean 'painn-qm9'"),
    (["show", "schnett"], "did you mean 'schnet'"),
    (["show", "broken"], "broken/card.yaml:19: limts: unknown key 'limts'; did you mean 'limits'?"),
    (["show", "far"], "zoo pull far"),
    (["show", "painn", "--preset", "papr"], "'painn' has no preset 'papr'; did you mean 'paper'?"),
    (["show", "painn-qm9", "--preset", "paper"], "'painn-qm9' is no architecture"),
    (["show", "nowhere/card.yaml"], "no such card"),
])
def test_an_error_is_one_message_and_status_2(collection, capsys, arguments, words):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "") and err.startswith("error: ") and words in err
    assert "Traceback" not in err


def test_errors_with_brackets_are_printed_as_they_are(collection, capsys):
    assert "'[bold]x'" in run(capsys, "show", "[bold]x")[2]


def test_wrong_usage_has_status_2_and_a_suggestion(capsys):
    code, _, err = run(capsys, "shw")
    assert code == 2 and "did you mean 'show'" in err
    assert run(capsys, "show")[0] == 2


# -- plugins and env --------------------------------------------------------------------------------------------


def test_plugins_shows_failures_as_rows(yard, capsys):
    yard.simple("zoo-bad", "import not_there")
    host.current.cache_clear()
    code, out, err = run(capsys, "plugins")
    assert code == 0
    assert "error" in next(line for line in out.splitlines() if "bad" in line)
    assert "ok" in next(line for line in out.splitlines() if " painn" in line)
    assert "bad (zoo-bad 0.1): ModuleNotFoundError" in err
    rows = {row["name"]: row for row in json.loads(run(capsys, "plugins", "--json")[1])}
    assert "not_there" in rows["bad"]["error"] and rows["painn"]["offers"] == {"architectures": ["painn"]}


def test_what_a_plugin_prints_does_not_spoil_json(yard, capsys):
    yard.simple("zoo-loud", "print('hello')")
    host.current.cache_clear()
    assert isinstance(json.loads(run(capsys, "list", "--json")[1]), list)


def test_strict_plugins_are_raised_by_the_command_too(yard, monkeypatch):
    yard.simple("zoo-bad", "import not_there")
    monkeypatch.setenv("ZOO_STRICT_PLUGINS", "1")
    host.current.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        zoo.cli.main(["plugins"])


def test_env_names_versions_folders_and_settings(capsys, monkeypatch, zoo_home):
    monkeypatch.setenv("HF_HUB_CACHE", "/somewhere/hub")
    report = json.loads(run(capsys, "env", "--json")[1])
    assert report["packages"]["geometric-zoo"] == zoo.__version__ and report["packages"]["torch"]
    assert report["folders"]["Hub cache"] == "/somewhere/hub" and report["folders"]["home"] == str(zoo_home)
    assert report["settings"]["HF_HUB_CACHE"] == "/somewhere/hub" and "painn" in report["plugins"]
    assert "painn" in run(capsys, "env")[1]


def test_python_m_zoo_is_the_command(run_zoo):
    done = run_zoo("show", "nothing-like-it")
    assert done.returncode == 2 and done.stderr.startswith("error: no model") and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_one_clear_error():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "zoo", "list", "--json"]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "error: the output cannot be written: No space left on device. Fix: make room" in ran.stderr
