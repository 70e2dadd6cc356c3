"""The strict YAML of cards: what is read how, what is refused, and that writing and reading are inverse."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zoo.errors import CardError
from zoo.files import yaml_loader
from zoo.files.atomic_writes import write_text
from zoo.files.yaml_loader import load_yaml, parse_yaml
from zoo.files.yaml_writer import dump_yaml

CARDS = Path(__file__).parents[2] / "cards"
COMMIT = "1234567890123456789012345678901234567890"


@pytest.mark.parametrize(("text", "value"), [
    ("1e-3", 1e-3), ("1E5", 1e5), ("-.5", -0.5), ("3.", 3.0), ("+12", 12), ("0o17", 15), ("017", 17), ("0x1F", 31),
    (".inf", math.inf), ("-.INF", -math.inf), ("true", True), ("False", False), ("~", None), ("null", None), ("", None),
    ("No", "No"), ("NO", "NO"), ("on", "on"), ("yes", "yes"), ("y", "y"), ("2024-01-31", "2024-01-31"),
    ("12:30:45", "12:30:45"), ("1_000", "1_000"), ("0b11", "0b11"), ("1e", "1e"), ("=", "="), ("'1e-3'", "1e-3"),
    ('"null"', "null"), (COMMIT, COMMIT), ("0.1.0", "0.1.0"), ("1e5" + "0" * 37, "1e5" + "0" * 37),
])
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = parse_yaml(f"key: {text}").data["key"]
    assert type(found) is type(value) and found == value


def test_nan_is_read():
    assert math.isnan(parse_yaml("a: .nan").data["a"])


@pytest.mark.parametrize(("text", "line", "words"), [
    ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a', first on line 1"),
    ("a:\n  b: ~\n  b: ~", 3, "duplicate key 'b', first on line 2"),
    ("a: 1\nb: {c: 1, c: 2}", 2, "duplicate key 'c'"),
    ("a: !!python/object/apply:os.system ['true']", 1, "tag"),
    ("a: !mine x", 1, "tag '!mine'"),
    ("a: ! x", 1, "tag '!'"),
    ("a: 1\nb: &x [1]\nc: *x", 2, "anchor '&x'"),
    ("a: *x", 1, "alias '*x'"),
    ("a: 1\n---\nb: 2", 2, "second document"),
    ("a: 1\n1: b", 2, "key 1 is not text: write '1' in quotes"),
    ("a: 1\n~: b", 2, "key None is not text"),
    ("? [a]\n: b", 1, "is not text"),
    ("a: [1, 2\nb: 3", 2, "is not valid YAML"),
    ("a:\n\t- 1", 2, "is not valid YAML"),
    ("a: @x", 1, "is not valid YAML"),
    ("a: 1\nb: -" + "1" * 5000, 2, "a whole number of 5,001 digits, more than 39"),
    ("a: 0x" + "f" * 50_000, 1, "a whole number of 50,000 digits"),
    ("a: 1\n+" + "1" * 500 + ": b", 2, "a whole number of 501 digits"),
    ("a: 1e999", 1, "'1e999' is too large for a number; infinity is written .inf"),
    ("a: 1\nb: [\"x\\0y\"]", 2, "a NUL character"),
    ("a: 1\n\"x\\0y\": b", 2, "a NUL character"),
    ("x" * 1001 + ": b", 1, "a key of 1,001 characters"),
])
@pytest.mark.parametrize("pure_python", [False, True])
def test_what_is_refused_is_named_with_its_line(text, line, words, pure_python, monkeypatch):
    if pure_python:
        monkeypatch.setattr(yaml_loader, "_LOADER", yaml.SafeLoader)
    with pytest.raises(CardError) as caught:
        parse_yaml(text, "card.yaml")
    assert str(caught.value).startswith(f"card.yaml:{line}: ")
    assert words in str(caught.value)


def test_an_alias_bomb_is_refused_before_it_can_expand():
    bomb = "a: &a [x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk"))
    with pytest.raises(CardError, match="anchor"):
        parse_yaml(bomb)


@pytest.mark.parametrize("depth", [40, 5000])
@pytest.mark.parametrize("pure_python", [False, True])
def test_deep_nesting_is_refused_without_a_recursion_error(depth, pure_python, monkeypatch):
    if pure_python:
        monkeypatch.setattr(yaml_loader, "_LOADER", yaml.SafeLoader)
    with pytest.raises(CardError, match=r"^<text>:1: nested more than 32 levels deep\. Fix: [a-z ]+\.$"):
        parse_yaml("a: " + "[" * depth + "]" * depth)


def test_every_key_and_item_has_its_line():
    document = parse_yaml("# head\na: 1\nb:\n  - x\n  - c: 2\n\n    d: >-\n      long\n      text\n", "f.yaml")
    assert document.lines == {("a",): 2, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "c"): 5, ("b", 1, "d"): 7}
    assert document.where("b", 1, "d") == "f.yaml:7: b[1].d"
    assert document.where("b", 7) == "f.yaml:3: b[7]"
    assert document.where() == "f.yaml"


def test_unreadable_files_are_card_errors(tmp_path):
    with pytest.raises(CardError, match="No such file"):
        load_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xc5\n")
    with pytest.raises(CardError, match=r"latin.yaml:2: is not UTF-8 text \(byte 0xc5\)"):
        load_yaml(tmp_path / "latin.yaml")
    (tmp_path / "nul.yaml").write_bytes(b"a: \0\n")
    with pytest.raises(CardError, match="not valid YAML"):
        load_yaml(tmp_path / "nul.yaml")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert load_yaml(tmp_path / "bom.yaml").data == {"a": 1, "b": 2}


def test_a_file_of_very_many_values_is_refused(monkeypatch):
    monkeypatch.setattr(yaml_loader, "MAX_VALUES", 1000)
    with pytest.raises(CardError, match=r"^<text>:1001: more than 1,000 values in one file\. Fix: "):
        parse_yaml("a: [" + "\n1," * 1001 + "]")


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "long.yaml").write_bytes(b"a: " + b"x" * 1_000_000)
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name, says in [("pipe", "is a pipe"), ("folder", "is a folder"), ("long", "more than 1,000,000 bytes"),
                       ("zero", "is a device"), ("a\0b", "no path can have these characters"),
                       ("x" * 300, "too long"), ("\ud800", "no path can have")]:
        with pytest.raises(CardError, match=f"{says}.*Fix: "):
            load_yaml(tmp_path / f"{name}.yaml")


AWKWARD = [
    "No", "1e-3", "0x1f", "null", "~", "", "...", "---", "- a", "a: b", "a #b", "2024-01-01", ".inf", "0o7", " lead",
    "trail ", "a\n\nb\n", "\n", "a\n\n", "=", "<<", "'", '"', "a\n b\nc", " a\nb", "a\nb ", "a\r\nb", "\t", "@",
    "%", "\x85", "\u2028", "\ufeff", "\U0001f600", COMMIT, "word " * 60 + "end", "two  blanks " * 20 + ".", "#", "a:",
    "?",
]
texts = st.one_of(
    st.text(max_size=30), st.sampled_from(AWKWARD),
    st.text(alphabet="ab :#-\n\t'\"[]{},&*!|>%@`0123456789.eE+_?~=", max_size=20),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), texts)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def same(a, b):
    """Equality that knows 1 from 1.0 and True, -0.0 from 0.0, nan from nothing else, and the order of keys."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(texts, values, min_size=1, max_size=4))
@example({text or "empty": text for text in AWKWARD})
@example({"list": AWKWARD, "nested": [AWKWARD, [AWKWARD]]})
def test_what_is_written_is_read_back_exactly(data):
    try:
        text = dump_yaml(data)
    except CardError as error:
        assert "surrogate" in str(error) or "a NUL character" in str(error)
        return
    assert same(parse_yaml(text).data, data)
    assert dump_yaml(parse_yaml(text).data) == text


@pytest.mark.parametrize("path", sorted(CARDS.glob("*/card.yaml")), ids=lambda path: path.parent.name)
def test_a_bundled_card_is_rewritten_without_a_changed_byte(path):
    assert dump_yaml(load_yaml(path).data).encode() == path.read_bytes()


def test_several_lines_are_written_as_a_block_and_long_text_is_folded():
    notes, limits = "First.\n\nSecond: more.\n", "word " * 40 + "end"
    text = dump_yaml({"notes": notes, "limits": limits, "config": {"a": 1, "b": [1, 2]}})
    assert "notes: |\n  First.\n\n  Second: more.\n" in text
    assert "limits: >-\n  word word" in text and max(map(len, text.splitlines())) <= 120
    assert text.endswith("config: {a: 1, b: [1, 2]}\n")


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {3}}, b"bytes", 10**39, "\ud800", "a\0b"])
def test_what_plain_yaml_cannot_say_is_refused(value):
    with pytest.raises(CardError, match="cannot write"):
        dump_yaml({"key": value})


def test_a_number_that_python_cannot_print_is_refused():
    with pytest.raises(CardError, match="cannot write a whole number of thousands of digits"):
        dump_yaml({"key": -(10**5000)})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "card.yaml"
    write_text(path, "a: 1\n")
    path.chmod(0o640)
    write_text(path, "a: 2\n")
    assert path.read_text() == "a: 2\n" and path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800 written")
    assert path.read_text() == "a: 2\n" and [p.name for p in path.parent.iterdir()] == ["card.yaml"]
