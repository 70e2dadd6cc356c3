"""Model names: sources, aliases, conflicts, filters, and pins written without loss."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import zoo
from zoo.errors import CardError, UnknownNameError
from zoo.registry import host
from zoo.registry.names import entry, list_models, show
from zoo.registry.pins import record_pin
from zoo.registry.registry_file import parse_pin, read_registry, write_pin
from zoo.registry.sources import read_all, user_registry

PIN, OTHER_PIN = "org/repo@" + "0123456789" * 4, "org/repo@" + "b" * 40

CARD = """\
schema: 1
name: {name}
architecture: {architecture}
targets:
  {target}: {{readout: energy, unit: eV}}
data: {{dataset: {dataset}}}
"""


def write_card(folder: Path, name: str, *, architecture="painn", target="U0", dataset="qm9") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "card.yaml"
    path.write_text(CARD.format(name=name, architecture=architecture, target=target, dataset=dataset))
    return path


def write_registry(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "registry.yaml").write_text(text)
    return folder / "registry.yaml"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The user's folder, empty, and nothing built in but the architectures."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_PLUGINS", "painn,schnet")
    host.current.cache_clear()
    yield tmp_path / "home"
    host.current.cache_clear()


@pytest.fixture
def models(home) -> Path:
    """Three models in the user's registry."""
    write_card(home / "cards/painn-qm9", "painn-qm9")
    write_card(home / "cards/schnet-qm9", "schnet-qm9", architecture="schnet", target="gap")
    write_card(home / "cards/painn-md", "painn-md", target="energy", dataset="md17")
    write_registry(home, """\
schema: 1
models:
  painn-qm9: {card: cards/painn-qm9/card.yaml}
  schnet-qm9: {card: cards/schnet-qm9, hub: null}
  painn-md: {card: cards/painn-md/card.yaml}
aliases: {painn: painn-qm9}
""")
    return home


def test_names_are_listed_and_filtered(models):
    assert list_models() == ["painn-md", "painn-qm9", "schnet-qm9"] == zoo.list_models()
    assert list_models("*-qm9") == ["painn-qm9", "schnet-qm9"] == list_models("qm9")
    assert list_models("painn*", target="U0") == ["painn-qm9"]
    assert list_models(architecture="schnet") == ["schnet-qm9"] == list_models(target="gap")
    assert list_models(dataset="md17") == ["painn-md"]
    assert list_models(plugin="painn") == ["painn-md", "painn-qm9"]
    assert list_models(plugin="geometric-zoo") == list_models()
    assert list_models("nothing") == []


def test_an_alias_is_another_name(models):
    assert entry("painn").name == "painn-qm9" == show("painn").name
    assert read_all().aliases_of("painn-qm9") == ["painn"]


def test_cards_are_shown_by_name_path_and_folder(models):
    folder = models / "cards/schnet-qm9"
    for way in ("schnet-qm9", folder, str(folder), folder / "card.yaml", f"dir:{folder}"):
        assert zoo.show(way).name == "schnet-qm9"
    with pytest.raises(UnknownNameError, match="no such card"):
        show(models / "missing.yaml")


def test_an_unknown_name_gets_the_nearest(models):
    with pytest.raises(UnknownNameError, match="no model 'pain-qm9'; did you mean 'painn-qm9'"):
        entry("pain-qm9")
    with pytest.raises(UnknownNameError, match="It is an architecture: zoo show schnet"):
        entry("schnet")


def test_a_bad_card_spoils_neither_the_list_nor_its_neighbours(models):
    (models / "cards/painn-md/card.yaml").write_text("schema: 1\nname: painn-md\nbogus: 1\n")
    (models / "cards/schnet-qm9/card.yaml").unlink()
    assert list_models() == ["painn-md", "painn-qm9", "schnet-qm9"]
    assert list_models(target="U0") == ["painn-qm9"]
    with pytest.raises(CardError, match="unknown key 'bogus'"):
        show("painn-md")


def test_a_card_under_another_name_is_an_error(models):
    write_card(models / "cards/painn-md", "painn-qm7")
    with pytest.raises(CardError, match=r"card.yaml:2: name: 'painn-qm7', but .* lists this card as 'painn-md'"):
        show("painn-md")


@pytest.mark.parametrize(("text", "words"), [
    ("schema: 2\nmodels: {}", "pip install -U geometric-zoo"),
    ("models: {}", "schema: is missing"),
    ("schema: 1\nmodel: {}", "registry.yaml:2: model: unknown key 'model'; did you mean 'models'?"),
    ("schema: 1\nmodels:\n  a: {cart: x}", "registry.yaml:3: models.a.cart: unknown key 'cart'; did you mean 'card'?"),
    ("schema: 1\nmodels:\n  a: {}", "registry.yaml:3: models.a: needs a card (its path), a hub pin, or both"),
    ("schema: 1\nmodels:\n  a: {hub: org/repo@main}", "registry.yaml:3: models.a.hub: 'org/repo@main' is no pin"),
    ("schema: 1\nmodels:\n  a/b: {card: x}", "registry.yaml:3: models.a/b"),
    ("[]", "is no registry"), ("", "is no registry"),
    ("schema: 1\nmodels:\n  a: {card: x}\n  a: {card: y}", "registry.yaml:4: duplicate key 'a', first on line 3"),
])
def test_a_bad_registry_is_a_problem_that_is_told_and_hides_no_other(home, tmp_path, monkeypatch, text, words):
    write_registry(home, text)
    write_card(tmp_path / "more" / "mine", "mine")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path / "more"))
    found = read_all()
    assert list(found.models()) == ["mine"]
    assert [origin for origin, _ in found.problems] == ["user"] and words in found.problems[0][1]
    with pytest.raises(UnknownNameError, match="user: "):
        entry("unknown")


def test_the_search_path_takes_registries_card_folders_and_collections(home, tmp_path, monkeypatch):
    write_card(tmp_path / "one", "single")
    write_card(tmp_path / "many" / "a", "first")
    write_card(tmp_path / "many" / "b", "second")
    write_card(tmp_path / "tree" / "cards" / "c", "third")
    write_registry(tmp_path / "tree", "schema: 1\nmodels: {third: {card: cards/c/card.yaml}}\n")
    folders = [tmp_path / name for name in ("one", "many", "tree", "absent")]
    monkeypatch.setenv("ZOO_PATH", os.pathsep.join(map(str, folders)))
    found = read_all()
    assert list(found.models()) == ["first", "second", "single", "third"]
    assert {e.origin for e in found.models().values()} == {"ZOO_PATH"}
    assert found.problems == [("ZOO_PATH", f"{tmp_path / 'absent'} is no folder")]


def test_a_name_with_two_meanings_is_an_error_at_use_and_nothing_is_shadowed(models, tmp_path, monkeypatch):
    write_card(tmp_path / "other" / "painn-qm9", "painn-qm9", target="H")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path / "other"))
    found = read_all()
    assert "painn-qm9" not in found.models() and list(found.conflicts()) == ["painn-qm9"]
    for name in ("painn-qm9", "painn"):
        with pytest.raises(CardError, match=r"'painn-qm9' means different things in user \(.*\) and ZOO_PATH \("):
            show(name)
    assert show("schnet-qm9")


def test_one_card_seen_from_two_sources_is_one_model(models, monkeypatch):
    monkeypatch.setenv("ZOO_PATH", str(models / "cards"))
    assert read_all().conflicts() == {} and len(list_models()) == 3


def test_an_alias_of_two_meanings_or_of_nothing_is_told(models, tmp_path, monkeypatch):
    write_registry(tmp_path / "other", "schema: 1\naliases: {painn: painn-md, ghost: nobody, schnet-qm9: painn-md}\n")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path / "other"))
    with pytest.raises(CardError, match="has several meanings: 'painn-qm9' in user, 'painn-md' in ZOO_PATH"):
        entry("painn")
    assert entry("schnet-qm9").name == "schnet-qm9"
    told = " ".join(message for _, message in read_all().problems)
    assert "'ghost' stands for 'nobody'" in told and "'schnet-qm9' for 'painn-md' is a model's name too" in told


def test_a_plugin_brings_models_and_is_their_origin(yard, monkeypatch):
    yard.install("zoo-egnn", {
        "zoo_egnn/__init__.py": """
            from pathlib import Path
            from zoo.plugin import hookimpl
            @hookimpl
            def zoo_registries():
                return [Path(__file__).parent / "registry.yaml"]
        """,
        "zoo_egnn/registry.yaml": "schema: 1\nmodels: {egnn-qm9: {card: egnn-qm9/card.yaml}}\n",
    }, entry={"egnn": "zoo_egnn"})
    write_card(yard.site / "zoo_egnn" / "egnn-qm9", "egnn-qm9", architecture="egnn")
    host.current.cache_clear()
    found = entry("egnn-qm9")
    assert (found.origin, found.card().architecture) == ("zoo-egnn", "egnn")


def test_a_model_known_by_its_pin_only_says_how_to_get_its_card(home):
    write_registry(home, f"schema: 1\nmodels:\n  far: {{hub: {PIN}}}\n")
    assert (entry("far").hub, entry("far").card_path) == (PIN, None)
    with pytest.raises(CardError, match="zoo pull far"):
        show("far")


def test_pins_are_a_repository_and_a_whole_commit():
    assert parse_pin(PIN) == ("org/repo", "0123456789" * 4)
    upper = "org/repo@" + "A" * 40
    for bad in ("org/repo", "org/repo@main", "org/repo@abc", "repo@" + "a" * 40, upper, f"hf:{PIN}", f"{PIN}\n"):
        with pytest.raises(CardError, match="is no pin"):
            parse_pin(bad)


ANNOTATED = f"""\
# The registry of my group.
schema: 1

models:
  # the first one
  first: {{card: cards/first/card.yaml, hub: null}}   # trained in spring
  second:
    card: cards/second/card.yaml
  # the last one
  third: {{hub: {OTHER_PIN}}}
# other names
aliases: {{one: first}}  # short
"""


def test_writing_a_pin_changes_its_entry_and_nothing_else(tmp_path):
    path = write_registry(tmp_path, ANNOTATED)
    write_pin(path, "first", PIN)
    expected = ANNOTATED.replace("hub: null}   # trained in spring", f"hub: {PIN}}}")
    assert path.read_text() == expected
    write_pin(path, "new", PIN, card="cards/new/card.yaml")
    added = f"  new: {{card: cards/new/card.yaml, hub: {PIN}}}\n"
    assert path.read_text() == expected.replace("# other names", f"{added}# other names")
    write_pin(path, "second", PIN)
    assert read_registry(path).models["second"] == (tmp_path / "cards/second/card.yaml", PIN)


@pytest.mark.parametrize("text", [
    "schema: 1\nmodels: {}\naliases: {}\n", "schema: 1\nmodels: {a: {card: x},\n  b: {card: y}}\n",
    "schema: 1\n", "aliases: {}\nschema: 1\nmodels:\n    a: {card: x}\n",
])
def test_a_pin_can_be_written_to_a_registry_of_any_layout(tmp_path, text):
    path = write_registry(tmp_path, f"# head\n{text}")
    before = read_registry(path).models
    write_pin(path, "a", PIN, card="x")
    write_pin(path, "new", PIN, card="z")
    after = read_registry(path).models
    assert after["a"] == (tmp_path / "x/card.yaml", PIN) and after["new"] == (tmp_path / "z/card.yaml", PIN)
    assert {k: v for k, v in after.items() if k == "b"} == {k: v for k, v in before.items() if k == "b"}
    assert path.read_text().startswith("# head\n")


def test_a_malformed_registry_or_pin_is_not_written_to(tmp_path):
    path = write_registry(tmp_path, "schema: 1\nmodls: {}\n")
    with pytest.raises(CardError, match="unknown key 'modls'"):
        write_pin(path, "a", PIN)
    with pytest.raises(CardError, match="is no pin"):
        write_pin(path, "a", "org/repo@main")
    assert path.read_text() == "schema: 1\nmodls: {}\n"


def test_several_writers_at_once_lose_nothing(home, tmp_path):
    path = write_registry(tmp_path / "r", "schema: 1\n")
    names = [f"m-{n}" for n in range(24)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: write_pin(path, name, PIN), names))
    assert sorted(read_registry(path).models) == sorted(names)
    assert [p.name for p in path.parent.iterdir()] == ["registry.yaml"]


def test_a_pin_goes_to_the_source_tree_of_the_card_else_to_the_user(home, tmp_path):
    write_card(tmp_path / "tree" / "cards" / "a", "a")
    tree = write_registry(tmp_path / "tree", "schema: 1\nmodels: {a: {card: cards/a/card.yaml}}\n")
    assert record_pin(tmp_path / "tree" / "cards" / "a", "a", PIN) == tree
    assert read_registry(tree).models["a"][1] == PIN
    lonely = write_card(tmp_path / "elsewhere" / "b", "b")
    assert record_pin(lonely.parent, "b", PIN) == user_registry()
    assert entry("b").hub == PIN and show("b").name == "b"


def test_a_pin_never_goes_into_an_installed_package(home, tmp_path):
    package = tmp_path / "lib" / "site-packages" / "zoo_plugins"
    card = write_card(package / "cards" / "c", "c")
    installed = write_registry(package, "schema: 1\nmodels: {c: {card: cards/c/card.yaml}}\n")
    before = installed.read_text()
    assert record_pin(card.parent, "c", PIN) == user_registry()
    assert installed.read_text() == before


def test_a_pin_is_not_recorded_over_another_s_name(home, tmp_path, monkeypatch):
    write_card(tmp_path / "theirs" / "c", "c")
    mine = write_card(tmp_path / "mine" / "c", "c")
    monkeypatch.setenv("ZOO_PATH", str(tmp_path / "theirs"))
    with pytest.raises(CardError, match=r"'c' is a model of ZOO_PATH \(.*theirs\) already"):
        record_pin(mine.parent, "c", PIN)
    assert not user_registry().exists()
    monkeypatch.delenv("ZOO_PATH")
    record_pin(mine.parent, "c", PIN)
    other = write_card(tmp_path / "other" / "c", "c")
    with pytest.raises(CardError, match="'c' is a model of user"):
        record_pin(other.parent, "c", OTHER_PIN)
    record_pin(mine.parent, "c", OTHER_PIN)
    assert entry("c").hub == OTHER_PIN


def test_the_zoo_s_own_registry_is_found_and_whole():
    found = read_all()
    assert found.problems == [] and found.conflicts() == {}
    for name, model in found.models().items():
        assert model.origin == "built-in"
        assert model.card().name == name
