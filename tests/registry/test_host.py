"""Plugins are found, kept apart from each other, and reported on."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest

from zoo.errors import PluginError, UnknownNameError, ZooError
from zoo.registry import host
from zoo.registry.host import Host

GOOD = """
@hookimpl
def zoo_architectures():
    return [Architecture(name="{name}", factory="zoo_{name}.model:Net")]
"""


def loaded(yard, **environ):
    return Host(yard.entry_points(), environ)


def record(yard, name, **environ):
    return next(r for r in loaded(yard, **environ).plugins() if r.name == name)


def test_a_plugin_is_found_by_its_entry_point(yard):
    yard.simple("zoo-egnn", GOOD.format(name="egnn"), version="1.2")
    found = record(yard, "egnn")
    assert (found.dist, found.version, found.module, found.error) == ("zoo-egnn", "1.2", "zoo_egnn", None)
    assert found.hooks == ("zoo_architectures",)
    assert found.offers == {"architectures": ("egnn",)}
    assert loaded(yard).offers("architectures")["egnn"].factory == "zoo_egnn.model:Net"


@pytest.mark.parametrize(("body", "words"), [
    ("import not_there", ["ModuleNotFoundError", "not_there", "zoo_bad/__init__.py:3"]),
    ("raise SystemExit('no licence')", ["SystemExit", "no licence"]),
    ("1 / 0", ["ZeroDivisionError"]),
    ("def broken(:", ["SyntaxError"]),
    ("class Quiet(Exception): pass\nraise Quiet", ["Quiet", "no message"]),
    ("@hookimpl\ndef zoo_architecture(): return []", ["unknown hook 'zoo_architecture'", "'zoo_architectures'"]),
    ("def zoo_architectures(): return []", ["zoo_architectures", "lacks the decorator @hookimpl"]),
    ("@hookimpl\ndef zoo_architectures(colour): return []", ["PluginValidationError", "colour"]),
    ("@hookimpl\ndef zoo_architectures(): raise KeyError('weights')", ["KeyError", "weights"]),
    ("@hookimpl\ndef zoo_architectures(): return {'a': 1}", ["zoo_architectures returned dict, expected a list"]),
    ("@hookimpl\ndef zoo_architectures(): pass", ["zoo_architectures returned nothing"]),
    ("@hookimpl\ndef zoo_architectures(): return ['net']", ["a list with str, expected zoo.plugin.Architecture"]),
    ("@hookimpl\ndef zoo_architectures(): return [Architecture(name='Net 1', factory='a:b')]", ["'Net 1'"]),
    ("@hookimpl\ndef zoo_architectures(): return [Architecture(name='net', factory='a.b')]", ["'a.b'", "module:attr"]),
    ("@hookimpl\ndef zoo_architectures(): return [Architecture(name='n', factory='a:b')] * 2", ["offers 'n' twice"]),
    ("@hookimpl\ndef zoo_datasets(): return [Architecture(name='n', factory='a:b')]", ["zoo.plugin.DatasetSpec"]),
    ("@hookimpl\ndef zoo_readouts(): return ['charge']", ["zoo_readouts returned list, expected a mapping"]),
    ("@hookimpl\ndef zoo_fetchers(): return {'ftp': len}", ["offers 'ftp' as <built-in function len>"]),
    ("@hookimpl\ndef zoo_fetchers(): return {'hf': 'a:b'}", ["offers 'hf', which the zoo has itself"]),
    ("@hookimpl\ndef zoo_readouts(): return {'energy': 'a:b'}", ["offers 'energy', which the zoo has itself"]),
    ("@hookimpl\ndef zoo_training(): return ['l1']", ["a list with str, expected zoo.plugin.TrainingPart"]),
    ("from zoo.plugin import TrainingPart as T\n@hookimpl\ndef zoo_training(): return [T(kind='los', name='a', "
     "factory='a:b')]", ["offers 'a' of the kind 'los': kinds are loss, optimizer"]),
    ("from zoo.plugin import TrainingPart as T\n@hookimpl\ndef zoo_training(): return [T(kind='loss', name='l1', "
     "factory='a:b')]", ["offers 'l1', which the zoo has itself"]),
    ("from zoo.plugin import TrainingPart as T\n@hookimpl\ndef zoo_training(): return [T(kind='loss', name='a', "
     "factory='a:b')] * 2", ["offers the loss a twice"]),
    ("@hookimpl\ndef zoo_registries(): return ['/no/such/registry.yaml']", ["/no/such/registry.yaml", "is no file"]),
])
def test_a_failing_plugin_is_a_row_and_the_others_work(yard, body, words):
    head = "from zoo.plugin import Architecture, DatasetSpec, hookimpl\n\n"
    yard.install("zoo-bad", {"zoo_bad/__init__.py": head + body}, entry={"bad": "zoo_bad"})
    yard.simple("zoo-egnn", GOOD.format(name="egnn"))
    bad, good = loaded(yard).plugins()
    assert good.error is None
    for word in words:
        assert word in bad.error


def test_an_entry_point_to_nothing_is_that_plugin_s_error(yard):
    yard.install("zoo-bad", {"zoo_bad.py": ""}, entry={"bad": "zoo_bad.missing", "worse": "zoo_bad:attribute"})
    bad, worse = loaded(yard).plugins()
    assert "zoo_bad.missing" in bad.error and "attribute" in worse.error


def test_one_failing_hook_leaves_the_plugin_s_others_usable(yard):
    yard.simple("zoo-half", GOOD.format(name="half") + "@hookimpl\ndef zoo_datasets(): raise OSError('disk')")
    found = record(yard, "half")
    assert "OSError: disk" in found.error
    assert "half" in loaded(yard).offers("architectures")


def test_keyboard_interrupt_is_no_plugin_error(yard):
    yard.simple("zoo-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        loaded(yard)


def test_two_plugins_with_one_name_are_an_error_that_names_both_packages(yard):
    yard.simple("zoo-net-a", GOOD.format(name="a").replace('name="a"', 'name="net"'), name="a")
    yard.simple("zoo-net-b", GOOD.format(name="b").replace('name="b"', 'name="net"'), name="b")
    plugins = loaded(yard)
    with pytest.raises(PluginError, match=r"'net' is offered by two plugins, 'a' \(zoo-net-a 0.1\) and 'b' \(zoo-"):
        plugins.offer("architectures", "net")
    assert "net" not in plugins.offers("architectures")
    assert all("zoo-net-a" in r.error and "zoo-net-b" in r.error for r in plugins.plugins())


def test_a_stranger_does_not_silently_replace_a_built_in(yard):
    yard.simple("zoo-evil", GOOD.format(name="evil").replace('name="evil"', 'name="painn"'))
    host.current.cache_clear()
    with pytest.raises(PluginError, match=r"zoo-evil.*geometric-zoo|geometric-zoo.*zoo-evil"):
        host.architecture("painn")


def test_zoo_plugins_limits_what_is_loaded(yard):
    yard.simple("zoo-egnn", GOOD.format(name="egnn"))
    yard.simple("zoo-boom", "raise RuntimeError('must not be imported')")
    assert [r.name for r in loaded(yard, ZOO_PLUGINS="egnn").plugins()] == ["egnn"]
    assert [r.name for r in loaded(yard, ZOO_PLUGINS=" zoo-egnn , ").plugins()] == ["egnn"]
    assert loaded(yard, ZOO_PLUGINS="").plugins() == []
    assert "zoo_boom" not in sys.modules


def test_a_name_in_zoo_plugins_that_nothing_bears_is_shown(yard):
    yard.simple("zoo-egnn", GOOD.format(name="egnn"))
    missing = record(yard, "egn", ZOO_PLUGINS="egn")
    assert "not installed" in missing.error and "did you mean 'egnn'" in missing.error


def test_strict_plugins_raise_what_they_raised(yard):
    yard.simple("zoo-bad", "1 / 0")
    with pytest.raises(ZeroDivisionError) as caught:
        loaded(yard, ZOO_STRICT_PLUGINS="1")
    assert "zoo-bad" in caught.value.__notes__[0]
    assert loaded(yard, ZOO_STRICT_PLUGINS="0").plugins()[0].error


def test_printing_and_slow_plugins_are_warned_about_and_kept_quiet(yard, capsys):
    yard.simple("zoo-loud", "import time; print('hello from loud'); time.sleep(0.25)" + GOOD.format(name="loud"))
    found = record(yard, "loud")
    assert capsys.readouterr().out == ""
    assert any("hello from loud" in w for w in found.warnings)
    assert any("s to import" in w for w in found.warnings)
    assert found.error is None and 0.2 < found.seconds < 60


def test_importing_torch_in_a_hook_module_is_warned_about(yard):
    (yard.site / "torch").mkdir()
    (yard.site / "torch" / "__init__.py").write_text("")  # a stand-in, so that the test is fast
    yard.simple("zoo-heavy", "import torch")
    script = "from zoo.registry import host; print(next(p.warnings for p in host.plugins() if p.name == 'heavy'))"
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(yard.site)!r}); {script}"],
                          capture_output=True, text=True, check=True)
    assert "imports torch" in done.stdout and "implements no hook" in done.stdout


def test_an_unknown_name_gets_the_nearest_and_the_plugin_that_could_offer_it(yard):
    yard.simple("zoo-egnn", GOOD.format(name="egnn"))
    yard.simple("zoo-mace", "import mace_torch_missing")
    plugins = loaded(yard)
    with pytest.raises(UnknownNameError, match="unknown architecture 'egn'; did you mean 'egnn'"):
        plugins.offer("architectures", "egn")
    with pytest.raises(UnknownNameError, match=r"'mace' \(zoo-mace 0.1\) is there but failed.*mace_torch_missing"):
        plugins.offer("architectures", "mace")
    with pytest.raises(UnknownNameError, match="pip install zoo-allegro"):
        plugins.offer("architectures", "allegro", package="zoo-allegro")
    with pytest.raises(UnknownNameError, match="'egnn' is installed but switched off by ZOO_PLUGINS"):
        loaded(yard, ZOO_PLUGINS="").offer("architectures", "egnn")


NET = """
class Net:
    def __init__(self, *, cutoff: float = 5.0, width: int):
        self.cutoff, self.width = cutoff, width
not_a_class = 3
"""


@pytest.fixture
def net(yard):
    yard.install("zoo-net", {
        "zoo_net/__init__.py": """
            from zoo.plugin import Architecture, hookimpl
            @hookimpl
            def zoo_architectures():
                return [Architecture(name=n, factory=f"zoo_net.{f}") for n, f in (
                    ("net", "model:Net"), ("typo", "model:Nett"), ("number", "model:not_a_class"),
                    ("gone", "missing:Net"), ("exits", "exits:Net"))]
        """,
        "zoo_net/model.py": NET, "zoo_net/exits.py": "raise SystemExit(3)",
    }, entry={"net": "zoo_net"})
    return loaded(yard)


def test_a_backbone_is_built_from_a_card_s_config(net):
    built = net.backbone("net", {"width": 8})
    assert (built.cutoff, built.width) == (5.0, 8)


@pytest.mark.parametrize(("config", "words"), [
    ({"width": 8, "cuttof": 4.0}, r"card.yaml:6: config.cuttof: 'net' takes no keyword 'cuttof'; did you mean 'cutoff"),
    ({"cutoff": 4.0}, r"'net' cannot be made without width"),
])
def test_a_wrong_config_keyword_is_named_with_its_line(net, config, words):
    with pytest.raises(ZooError, match=words):
        net.backbone("net", config, where=lambda key: f"card.yaml:6: config.{key}")


@pytest.mark.parametrize(("name", "words"), [
    ("typo", "did you mean 'Net'"), ("number", "is no class but int"), ("gone", "no module named 'zoo_net.missing'"),
    ("exits", "SystemExit: 3"),
])
def test_a_factory_that_cannot_be_imported_names_architecture_and_package(net, name, words):
    with pytest.raises(PluginError, match=rf"'{name}' of zoo-net 0.1.*{words}"):
        net.factory(name)


def test_listeners_hear_events_and_a_failing_one_only_warns(yard):
    yard.simple("zoo-deaf", "@hookimpl\ndef zoo_train_event(event, state): raise ValueError('no disk')", name="a")
    hears = "heard = []\n@hookimpl\ndef zoo_train_event(event, state): heard.append((event, state['step']))"
    yard.simple("zoo-log", hears, name="b")
    plugins = loaded(yard)
    with pytest.warns(RuntimeWarning, match="listener of zoo-deaf 0.1 failed at 'log': ValueError: no disk"):
        plugins.emit("log", {"step": 3})
    assert sys.modules["zoo_b"].heard == [("log", 3)]
    with pytest.raises(ValueError, match="no disk"):
        loaded(yard, ZOO_STRICT_PLUGINS="1").emit("log", {"step": 4})


def test_the_names_that_are_taken_are_those_of_the_zoo():
    from zoo.model.readout_kinds import READOUTS
    from zoo.registry.discovery import BUILTIN_READOUTS

    assert set(BUILTIN_READOUTS) == set(READOUTS)


@pytest.mark.parametrize(("body", "words"), [
    ("raise OSError('no such drawer')", "fetcher 'drawer' of zoo-odd 0.1 does not give 'x': OSError: no such drawer"),
    ("return None", "gave NoneType for 'x', not the folder"),
])
def test_a_fetcher_that_fails_is_named_with_its_package(yard, body, words):
    from zoo.loading.resolution import resolve

    yard.simple("zoo-odd", f"""
        @hookimpl
        def zoo_fetchers():
            return {{"drawer": "zoo_odd:fetch"}}

        def fetch(rest, folder):
            {body}
    """)
    with pytest.raises(PluginError, match=words):
        resolve("drawer:x")


def test_a_readout_that_is_none_is_named_with_its_package(yard):
    import zoo

    yard.simple("zoo-odd", "@hookimpl\ndef zoo_readouts(): return {'odd': 'zoo_odd:hookimpl'}")
    with pytest.raises(PluginError, match=r"readout 'odd' of zoo-odd 0.1: 'zoo_odd:hookimpl' is no readout"):
        zoo.create("painn", preset="small", targets={"x": {"readout": "odd", "unit": "eV"}})


def test_the_five_families_come_through_the_same_door():
    records = {r.name: r for r in host.plugins()}
    for name in ("schnet", "dimenet", "gemnet", "painn", "nequip"):
        assert records[name].builtin and records[name].error is None, records[name]
        assert records[name].offers["architectures"] == (name,)
        assert {"paper", "small"} <= set(host.architecture(name).presets)
    assert host.dataset("qm9").targets["U0"] == "eV"


def test_importing_the_zoo_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = "from zoo.registry import host; host.plugins()"
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importers_of_a_plugin_are_found_by_name_and_checked(yard):
    from zoo.errors import PluginError, UnknownNameError
    from zoo.foreign import IMPORTERS, importer, importers
    from zoo.registry.discovery import BUILTIN_IMPORTERS

    yard.simple("zoo-good", """
        from zoo.plugin import Importer

        @hookimpl
        def zoo_importers():
            return {"other-net": Importer("zoo_good.read:net", "OtherNet of other")}
    """)
    yard.simple("zoo-taken", """
        from zoo.plugin import Importer

        @hookimpl
        def zoo_importers():
            return {"pyg-schnet": Importer("zoo_taken.read:net", "mine")}
    """)
    yard.simple("zoo-wrong", """
        @hookimpl
        def zoo_importers():
            return {"x": "zoo_wrong.read:net"}
    """)
    records = {record.name: record for record in host.plugins()}
    assert records["good"].offers["importers"] == ("other-net",) and records["good"].error is None
    assert "which the zoo has itself" in records["taken"].error
    assert "expected zoo.plugin.Importer" in records["wrong"].error
    assert importer("other-net").summary == "OtherNet of other" and set(importers()) == {"other-net", *IMPORTERS}
    assert importer("pyg-schnet") is IMPORTERS["pyg-schnet"]
    with pytest.raises(UnknownNameError, match=r"did you mean 'other-net'\?.* Fix: "):
        importer("other-nett")
    yard.simple("zoo-twin", """
        from zoo.plugin import Importer

        @hookimpl
        def zoo_importers():
            return {"other-net": Importer("zoo_twin.read:net", "another")}
    """)
    host.current.cache_clear()
    with pytest.raises(PluginError, match="offered by two plugins"):
        importer("other-net")
    assert set(BUILTIN_IMPORTERS) == set(IMPORTERS)


STRANGER = """
from __future__ import annotations
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal
from annotated_types import Interval
if TYPE_CHECKING:
    from nowhere import Missing
class Net:
    def __init__(self, *, r_max: float = 5.0, width: int = 8, sizes: int | Sequence[int] = 4, gate: bool = True,
                 kind: Literal["a", "b"] = "a", share: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
                 far: float | None = None, offset: int = 0, shift: float = 1.0, layers: int = 3):
        if layers == 2:
            raise ValueError("two layers are one too many")
        self.cutoff = r_max
class Bare:
    def __init__(self, cutoff=5.0, width=8, gate=True, kind="a", free=None):
        self.cutoff = cutoff
class Odd:
    def __init__(self, *, cutoff: float = 5.0, width: int = 8, other: Missing = None):
        self.cutoff = cutoff
"""


@pytest.fixture
def stranger(yard):
    yard.install("zoo-far", {
        "zoo_far/__init__.py": """
            from zoo.plugin import Architecture, hookimpl
            @hookimpl
            def zoo_architectures():
                return [Architecture(name="far", factory="zoo_far.model:Net", cutoffs=("r_max", "far")),
                        Architecture(name="bare", factory="zoo_far.model:Bare"),
                        Architecture(name="odd", factory="zoo_far.model:Odd")]
        """,
        "zoo_far/model.py": STRANGER,
    }, entry={"far": "zoo_far"})
    return loaded(yard)


@pytest.mark.parametrize(("name", "key", "value", "words"), [
    ("far", "r_max", float("nan"), "nan is not finite"),
    ("far", "r_max", float("inf"), "inf is not finite"),
    ("far", "r_max", 0, "a radius of 0 Å"),
    ("far", "r_max", -5, "a radius of -5 Å"),
    ("far", "far", -1.0, "a radius of -1.0 Å"),
    ("far", "r_max", "5.0", "expects a number, found '5.0'"),
    ("far", "width", None, "expects a whole number, found None"),
    ("far", "width", "abc", "expects a whole number, found 'abc'"),
    ("far", "width", 8.0, "expects a whole number, found 8.0"),
    ("far", "width", True, "expects a whole number, found True"),
    ("far", "width", -8, "expects a whole number from 0, found -8"),
    ("far", "sizes", "x", "expects a whole number or a list, found 'x'"),
    ("far", "sizes", [4, float("nan")], "[4, nan] is not finite"),
    ("far", "gate", 1, "expects true or false, found 1"),
    ("far", "kind", "c", "expects 'a' or 'b', found 'c'"),
    ("far", "share", 1.5, "less than 1, found 1.5"),
    ("far", "shift", float("-inf"), "-inf is not finite"),
    ("far", "layers", 2, "two layers are one too many"),
    ("bare", "width", "abc", "expects a whole number, found 'abc'"),
    ("bare", "gate", 0, "expects true or false, found 0"),
    ("bare", "cutoff", float("nan"), "nan is not finite"),
    ("bare", "free", float("nan"), "nan is not finite"),
    ("odd", "width", None, "expects a whole number, found None"),
    ("odd", "cutoff", -1, "a radius of -1 Å"),
])
def test_values_of_any_plugin_s_config_are_checked(stranger, name, key, value, words):
    with pytest.raises(ZooError) as caught:
        stranger.backbone(name, {key: value}, where=lambda at: f"card.yaml:6: config.{at}")
    assert str(caught.value).startswith(f"card.yaml:6: config.{key}: ")
    assert words in str(caught.value) and "Fix: " in str(caught.value)


def test_what_a_constructor_takes_passes(stranger):
    for config in ({"r_max": 5}, {"far": None}, {"far": 3}, {"sizes": [1, 2]}, {"sizes": (1, 2)}, {"offset": -3},
                   {"shift": -2.5}, {"share": 0.25}, {"kind": "b", "gate": False}, {"width": 0}):
        assert stranger.backbone("far", config).cutoff > 0
    assert stranger.backbone("bare", {"free": {"any": ["thing", 1]}, "kind": "z"}).cutoff == 5.0
    assert stranger.backbone("odd", {"other": "thing"}).cutoff == 5.0


def test_a_cut_off_that_a_config_leads_to_is_checked_too(stranger):
    """The keyword is not declared as a radius, and its value is no number either."""
    class Late:
        def __init__(self, *, half=2.0):
            self.cutoff = 2 * half

    stranger.factory = lambda name: Late
    with pytest.raises(ZooError, match=r"the cut-off 0\.0 Å"):
        stranger.backbone("bare", {"half": 0.0})
