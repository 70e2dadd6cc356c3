"""Cards: what is accepted, what is refused and how the error reads, and writing without loss."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from zoo.cards.card import Card
from zoo.cards.schema import SCHEMA, upgrade
from zoo.cards.section import Section
from zoo.cards.sections import TargetSpec
from zoo.errors import CardError
from zoo.files.yaml_loader import parse_yaml
from zoo.registry.registry_file import Include

SHA = "0123456789abcdef" * 4

STORED = Path(__file__).parent
TEXT = (STORED / f"schema-{SCHEMA}.yaml").read_text(encoding="utf-8")
"""A card with every section; one is kept of each schema that was ever released."""


def card() -> Card:
    return Card.from_text(TEXT, "card.yaml")


def broken(old: str, new: str) -> str:
    """The error of the card after one edit."""
    assert old in TEXT
    with pytest.raises(CardError) as caught:
        Card.from_text(TEXT.replace(old, new, 1), "card.yaml")
    return str(caught.value)


def test_a_card_is_read_with_its_units_in_canonical_spelling():
    read = card()
    assert read.targets["U0"].unit == "eV" and read.targets["alpha"].unit == "a0^3"
    assert read.config == {"cutoff": 5.0, "channels": 64} and read.recipe["lr"] == 1e-3
    assert read.references["U0"].values == {"H": -13.613312, "No": -1029.8231246}
    assert read.metrics[0].date == "2026-11-23" and read.domain.spin is None
    assert read.data.citation == ["R. Ramakrishnan et al., 2014"]
    assert read.where("config", "cutoff") == "card.yaml:6: config.cutoff"
    assert read.where("config", "cuttof") == "card.yaml:6: config.cuttof"


def test_what_is_written_reads_back_equal_in_the_order_of_the_schema():
    text = card().dump()
    assert Card.from_text(text) == card()
    assert Card.from_text(text).dump() == text
    assert text.startswith("# A comment that stays.\nschema: 1\nname: painn-qm9\n")
    assert "notes: |\n  First line.\n\n  Third line.\n" in text
    shuffled = Card.from_dict(dict(reversed(card().to_dict().items())))
    assert list(shuffled.to_dict()) == list(card().to_dict())
    assert parse_yaml(text).data["training"]["commit"] == "1234567"


def test_what_the_author_left_out_is_not_written():
    short = Card.from_text("schema: 1\nname: a\narchitecture: b\ntargets: {energy: {readout: energy, unit: eV}}\n")
    assert short.to_dict() == {"schema": 1, "name": "a", "architecture": "b",
                               "targets": {"energy": {"readout": "energy", "unit": "eV"}}}


@pytest.mark.parametrize(("old", "new", "words"), [
    ("domain: ", "doman: ", "card.yaml:18: doman: unknown key 'doman'; did you mean 'domain'?"),
    ("reference: atom", "referense: atom",
     "card.yaml:12: targets.U0.referense: unknown key 'referense'; did you mean 'ref"),
    ("unit: ev, ", "", "card.yaml:12: targets.U0.unit: a target needs a unit, such as 'unit: eV'"),
    ("unit: ev", "unit: evv", "card.yaml:12: targets.U0.unit: unknown unit 'evv'; did you mean 'eV'?"),
    ("hidden: [64]", "hidden: [0]", "card.yaml:12: targets.U0.hidden[0]"),
    ("hidden: [64]", "hidden: '64'", "card.yaml:12: targets.U0.hidden: expected a list, found '64'"),
    ("bias: true", "bias: yes", "card.yaml:12: targets.U0.bias: expected true or false, found 'yes'"),
    ("pbc: false", "pbc: no", "card.yaml:18: domain.pbc: expected true or false, found 'no'"),
    ("  gap:", "  stress:", "card.yaml:13: targets.stress: 'stress' is the derivative of an energy"),
    ("  gap:", "  U0:", "card.yaml:13: duplicate key 'U0', first on line 12"),
    ("  gap:", "  2d gap:", "card.yaml:13: targets.2d gap"),
    ("[H, No], pbc", "[H, N], pbc", "card.yaml:17: references.U0.values: no value for N"),
    ("[H, No], pbc", "[H, no], pbc",
     "card.yaml:18: domain.elements[1]: 'no' is no chemical symbol; did you mean 'No'?"),
    ("[H, No], pbc", "[H, H], pbc", "card.yaml:18: domain.elements: named twice: H"),
    ("pbc: false", "pbc: false, bonds: {C-H: [1.2, 1.1]}",
     "card.yaml:18: domain.bonds: C-H: [1.2, 1.1] is not [shortest, longest] in Å"),
    ("pbc: false", "pbc: false, bonds: {H-C: [1.0, 1.1]}", "card.yaml:18: domain.bonds: 'H-C' is no kind of bond"),
    ("U0: {kind", "U1: {kind", "card.yaml:17: references.U1: 'U1' is no target of this card: U0"),
    ("kind: atomization", "kind: isolated",
     "card.yaml:17: references.U0.kind: 'isolated', but targets.U0.reference is"),
    ("-13.613312", ".nan", "card.yaml:17: references.U0.values.H: nan is not finite"),
    ("file: model.safetensors", "file: ../model.safetensors", "'../model.safetensors' is no plain file name"),
    (f"sha256: {SHA}, bytes", "sha256: abc, bytes", "card.yaml:25: weights.sha256"),
    ("target: U0, metric", "target: U1, metric",
     "card.yaml:27: metrics[0].target: 'U1' is no target of this card: U0"),
    ("n: 10831, by", "n: many, by", "card.yaml:27: metrics[0].n: expected a whole number, found 'many'"),
    ("by: zoo evaluate, ", "", "card.yaml:27: metrics[0].by: is missing"),
    ("[[0.0, 0.0, 0.0]]", "[[0.0, 0.0]]", "positions[0]"),
    ("symbols: [H]", "symbols: [H, H]", "2 symbols, but 1 positions"),
    ("inputs: [charge]", "inputs: [charges]",
     "card.yaml:9: inputs[0]: found 'charges', expected 'charge', 'spin'"),
    ("summary: \"PaiNN: small\"", "summary: 3",
     "card.yaml:4: summary: expected text, found 3: write it in quotes"),
    ("name: painn-qm9", "name: ../painn", "card.yaml:3: name:"),
    ("architecture: painn\n", "", "card.yaml: architecture: is missing"),
    ("schema: 1", "schema: 2",
     "card.yaml:2: schema: written for schema 2, this zoo knows up to 1. Fix: pip install -U geomet"),
    ("schema: 1\n", "", "card.yaml: schema: no 'schema', expected a whole number. Fix: write 'schema: 1'"),
    ("schema: 1", "schema: one", "card.yaml:2: schema: schema: 'one', expected a whole number"),
    ("schema: 1", "schema: 0", "card.yaml:2: schema: schema 0 is unknown"),
    ("limits: Not", "limits: [Not, x]\nlimit: Not",
     "card.yaml:44: limit: unknown key 'limit'; did you mean 'limits'?"),
])
def test_an_error_says_what_was_found_and_where(old, new, words):
    assert words in broken(old, new)


def test_every_problem_is_told_at_once():
    text = TEXT.replace("bias: true", "bias: 3").replace("pbc: false", "pbc: 3")
    with pytest.raises(CardError) as caught:
        Card.from_text(text, "card.yaml")
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == ["card.yaml:12:", "card.yaml:18:", "Fix:"]


def test_weights_without_the_references_they_hold_are_refused():
    lines = TEXT.splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith(("references:", "  U0: {kind")))
    with pytest.raises(CardError, match=r"targets.U0: reference is 'atomization' and there are weights"):
        Card.from_text(text)
    recipe_only = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("weights:"))
    assert Card.from_text(recipe_only).references == {}


@pytest.mark.parametrize("text", ["", "- a", "just text", "schema: 1\n"])
def test_what_is_no_card_at_all_is_said(text):
    with pytest.raises(CardError):
        Card.from_text(text, "card.yaml")


def test_keys_with_x_are_free_and_survive():
    assert Card.from_text(card().dump()).to_dict()["x-mine"] == {"anything": [1, 2]}


def test_saving_goes_by_folder_or_file_and_knows_its_path(tmp_path):
    saved = card()
    assert saved.save(tmp_path / "painn-qm9") == tmp_path / "painn-qm9" / "card.yaml"
    again = Card.load(tmp_path / "painn-qm9")
    assert again == saved and again.folder == tmp_path / "painn-qm9"
    assert again.where("name") == f"{tmp_path}/painn-qm9/card.yaml:3: name"
    with pytest.raises(CardError, match="No such file"):
        Card.load(tmp_path / "other" / "card.yaml")


def test_replacing_keys_gives_a_checked_copy():
    changed = card().replace(name="mine", weights=None, metrics=[], targets={"U0": card().targets["U0"]})
    assert changed.name == "mine" and changed.weights is None and list(changed.targets) == ["U0"]
    assert card().name == "painn-qm9" and changed.dump().startswith("# A comment that stays.")
    with pytest.raises(CardError, match="'forces' is the derivative"):
        card().replace(targets={"forces": {"readout": "energy", "unit": "eV"}})
    with pytest.raises(CardError, match="unknown key 'nam'; did you mean 'name'"):
        card().replace(nam="x")


def test_a_head_is_the_architecture_s_with_what_the_card_says_on_top():
    spec = TargetSpec(readout="energy", unit="eV", hidden=[], bias=False, options={"shift": 1})
    head = spec.head({"hidden": [64], "activation": "ssp"})
    assert head == {"hidden": [], "activation": "ssp", "bias": False, "shift": 1}


def test_cards_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        card().name = "other"


def test_older_schemas_are_upgraded_step_by_step_in_memory():
    steps = {1: lambda data: {"names": [data.pop("name")], **data},
             2: lambda data: {**data, "count": len(data["names"])}}
    data = {"schema": 1, "name": "a"}
    assert upgrade(data, "card.yaml:1", upgrades=steps, current=3) == {"schema": 3, "names": ["a"], "count": 1}
    assert data == {"schema": 1, "name": "a"}
    with pytest.raises(CardError, match="schema 2 is unknown"):
        upgrade({"schema": 2}, "card.yaml:1", upgrades={1: steps[1]}, current=3)
    assert upgrade(data, "card.yaml:1") is data and SCHEMA == 1


@pytest.mark.parametrize("version", range(1, SCHEMA + 1))
def test_a_card_of_every_schema_is_still_read(version):
    stored = Card.load(STORED / f"schema-{version}.yaml")
    assert stored.schema_version == SCHEMA and stored.name == "painn-qm9" and stored.weights.parameters == 300


def test_the_json_schema_accepts_what_the_reader_accepts():
    schema = json.loads(json.dumps(Card.json_schema()))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    data = card().to_dict()
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors({**data, "doman": {}})) != []
    assert list(validator.iter_errors({k: v for k, v in data.items() if k != "architecture"})) != []
    assert list(validator.iter_errors({**data, "targets": {"U0": {"readout": "energy"}}})) != []


def test_every_key_has_a_description():
    sections = [section for section in Section.__subclasses__()
                if section.__module__.startswith(("zoo.cards.", "zoo.registry."))]
    assert {Card, TargetSpec, Include} <= set(sections)
    lacking = [f"{section.__name__}.{key}" for section in sections for key, field in section.model_fields.items()
               if not (field.description or "").endswith(".")]
    assert lacking == []
