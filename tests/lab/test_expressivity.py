"""What each family can see, measured and as theory has it; and that the measure itself neither dreams nor sleeps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import zoo
from zoo.cli import main
from zoo.conformance.find import find
from zoo.conformance.physics import smooth_value
from zoo.conformance.subject import ELEMENTS
from zoo.elements import numbers
from zoo.errors import UnknownNameError, ZooError
from zoo.lab.chains import chains, k_chain, theory
from zoo.lab.expectations import EXPECTED
from zoo.lab.experiments import findings, run_experiments
from zoo.lab.expressivity import expressivity, turned
from zoo.lab.pairs import Pair, pairs
from zoo.lab.picasso import Accuracy, picasso
from zoo.lab.probes import probe
from zoo.lab.stars import orientations
from zoo.registry.families import FAMILIES

DOCS = Path(__file__).resolve().parents[2] / "docs" / "experiments" / "expressivity.md"
PAIRS = {pair.name: pair for pair in [*pairs(), *chains()]}


def apart(name: str, pair: str, layers: int, **config) -> bool:
    (verdict,) = expressivity([name], chosen=[PAIRS[pair]], layers=[layers], seeds=1, config=config)
    return verdict.distinguished


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_tells_apart_what_it_should_and_from_the_depth_it_should(name):
    verdicts = expressivity([name], chosen=list(PAIRS.values()), layers=(1, 2, 3, 4, 5), seeds=1)
    for finding in findings(verdicts):
        assert finding.expected is not None
        assert finding.as_expected, f"{finding.pair}: from {finding.first}, expected {finding.expected}"
    # Clear either way: nothing near the threshold, and once seen, always seen.
    for verdict in verdicts:
        assert verdict.margin < 30 or verdict.margin > 1e5, verdict
        first = EXPECTED[name, verdict.pair].layers
        assert verdict.distinguished == (first is not None and verdict.layers >= first)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_structure_is_never_told_apart_from_itself(name):
    same = Pair("itself", None, "", PAIRS["tetrahedra"].a, turned(PAIRS["tetrahedra"].a, 99))
    for verdict in expressivity([name], chosen=[same], layers=[4], seeds=1):
        assert verdict.margin < 30


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bond_longer_by_a_millionth_is_seen_at_once(name):
    graph = PAIRS["distances"].a
    longer = graph.replace(pos=graph.pos * (1 + 1e-6))
    for verdict in expressivity([name], chosen=[Pair("longer", 1, "", graph, longer)], layers=[1], seeds=1):
        assert verdict.distinguished
        assert verdict.difference < 1e-4


def test_gemnet_owes_the_torsion_to_its_quadruplets():
    assert apart("gemnet", "torsion", 2)
    assert not apart("gemnet", "torsion", 2, quadruplets=False)


def test_three_lines_need_degree_two():
    assert not apart("nequip", "lines", 5, lmax=1)
    assert apart("nequip", "lines", 4, lmax=2)


def test_mirror_images_need_features_of_odd_parity():
    assert apart("nequip", "chirality", 4)
    assert not apart("nequip", "chirality", 4, output_parity=False)
    assert not apart("nequip", "chirality", 4, parity=False)


def test_painn_meets_the_bound_for_chains_and_nequip_takes_longer():
    assert [theory(k) for k in (2, 3, 4)] == [2, 2, 3]
    for k in (2, 3, 4):
        assert EXPECTED["painn", f"{k}-chain"].layers == theory(k)
        assert EXPECTED["nequip", f"{k}-chain"].layers == k + 1
    assert k_chain(4, 1).num_nodes == 6


def test_an_n_fold_star_is_seen_to_turn_from_degree_n_on():
    rows = orientations(("schnet", "painn", "nequip"), folds=(2, 3), degrees=(1, 2, 3), layers=2, seeds=1)
    assert {(o.name, o.lmax) for o in rows} == {("schnet", 0), ("painn", 1), *(("nequip", l) for l in (1, 2, 3))}
    for o in rows:
        assert o.seen == (o.lmax >= o.fold), o
        assert o.margin < 100 or o.margin > 1e10


def test_a_five_fold_star_takes_degree_five():
    seen = {o.lmax: o.seen for o in orientations(["nequip"], folds=(5,), degrees=(4, 5), seeds=1)}
    assert seen == {4: False, 5: True}


def test_a_trained_model_has_one_depth(tmp_path):
    torch.manual_seed(0)
    model = zoo.create("painn", channels=8, num_layers=2, cutoff=5.0, elements=["H", "C", "N", "O", "F"])
    zoo.save(model, tmp_path / "mine")
    found = run_experiments([str(tmp_path / "mine")], experiments=["pairs", "stars"])
    by_pair = {f.pair: f for f in found.pairs}
    assert [f.first for f in found.pairs] == [None] * len(by_pair)
    assert by_pair["torsion"].deep.distinguished and not by_pair["lines"].deep.distinguished
    assert by_pair["torsion"].as_expected is None and found.surprises == []
    assert [(o.lmax, o.fold, o.seen) for o in found.stars] == [(1, 2, False), (1, 3, False), (1, 5, False)]


def test_a_plugin_of_ones_own_is_measured_without_an_expectation(yard):
    yard.install("zoo-two", {
        "zoo_two/__init__.py": """
            from zoo.plugin import Architecture, hookimpl

            @hookimpl
            def zoo_architectures():
                return [Architecture(name="two", factory="zoo_two.model:Two")]
            """,
        "zoo_two/model.py": """
            import torch
            from zoo.nn import sum_by

            class Two(torch.nn.Module):
                irreps_out = "2x0e"

                def __init__(self, *, cutoff: float = 5.0) -> None:
                    super().__init__()
                    self.cutoff, self.weight = cutoff, torch.nn.Parameter(torch.rand(2))

                def forward(self, graph):
                    return sum_by(torch.exp(-graph.edge_len[:, None] * self.weight), graph.target, graph.num_nodes)
            """,
    }, entry={"two": "zoo_two"})
    (distances, *_) = run_experiments(["two"], experiments=["pairs"], seeds=1).pairs
    assert distances.pair == "distances" and not distances.deep.distinguished
    assert distances.deep.layers is None and distances.as_expected is None


OTHER_NAMES = {
    "zoo_names/__init__.py": """
        from zoo.plugin import Architecture, hookimpl

        @hookimpl
        def zoo_architectures():
            return [Architecture(name="names", factory="zoo_names.model:Names", depth="rounds", elements="species",
                                 cutoffs=("radius", "inner"),
                                 presets={"small": {"inner": 3.0}})]
        """,
    "zoo_names/model.py": """
        import torch
        from zoo.nn import CosineCutoff, sum_by

        class Names(torch.nn.Module):
            irreps_out = "2x0e"

            def __init__(self, *, radius: float = 4.0, inner: float | None = None, rounds: int = 1, species=(1, 6)):
                super().__init__()
                self.cutoff, self.inner, self.rounds, self.species = radius, inner, rounds, list(species)
                self.window = CosineCutoff(radius)
                self.weight = torch.nn.Parameter(torch.rand(2))

            def forward(self, graph):
                h = torch.ones(graph.num_nodes, 2, dtype=graph.pos.dtype, device=graph.pos.device)
                for _ in range(self.rounds):
                    message = self.window(graph.edge_len)[:, None] * self.weight * h[graph.source]
                    h = sum_by(message, graph.target, graph.num_nodes)
                return h
        """,
}


def test_keywords_of_other_names_are_declared(yard):
    yard.install("zoo-names", OTHER_NAMES, entry={"names": "zoo_names"})
    found = probe("names", cutoff=3.5)
    assert found.depth == "rounds" and found.config == {"radius": 3.5, "inner": 3.5}
    assert found.model(layers=3).backbone.rounds == 3
    model = zoo.create("names", elements=["C", "O"])
    assert model.backbone.species == [6, 8] and tuple(model.elements) == (6, 8)
    assert zoo.create("names").backbone.species == [1, 6]
    assert tuple(zoo.create("names", species=[7, 8]).elements) == (7, 8)
    (subject,) = find("names")
    assert subject.keywords()["species"] == numbers(ELEMENTS) and "species" not in subject.design
    assert [finding.of for finding in smooth_value(subject)] == ["radius 4 Å", "inner 3 Å"]


def test_what_cannot_be_done_is_said():
    with pytest.raises(UnknownNameError, match=r"no architecture 'shcnet'.*no model"):
        run_experiments(["shcnet"])
    with pytest.raises(ZooError, match=r"no experiment 'pears'\. Fix: choose from pairs, chains"):
        run_experiments(["schnet"], experiments=["pears"])
    with pytest.raises(ZooError, match="ascending"):
        run_experiments(["schnet"], layers=[3, 1])


def test_measuring_leaves_the_callers_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    probe("schnet").model(layers=1, seed=7)
    assert torch.equal(torch.rand(3), expected)


def test_a_picasso_result_knows_what_was_hoped_for():
    assert Accuracy("dimenet", "twist", 3, (0.5, 0.52)).as_expected is True
    assert Accuracy("dimenet", "twist", 3, (0.9, 1.0)).as_expected is False
    assert Accuracy("painn", "twist", 3, (0.9, 0.94)).as_expected is False
    assert Accuracy("nequip", "twist", 2, (0.5, 0.5)).as_expected is True
    assert Accuracy("other", "twist", 3, (0.5, 0.5)).as_expected is None


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "painn" else pytest.mark.slow)
                                  for name in FAMILIES])
def test_the_picasso_problem_is_solved_by_those_who_see_it(name):
    for accuracy in picasso([name], seeds=2):
        visible = EXPECTED[name, accuracy.level].layers is not None
        assert accuracy.mean >= 0.95 if visible else accuracy.mean <= 0.6, accuracy


def command(*arguments: str) -> int:
    """Run ``zoo lab expressivity`` in this process, which has imported torch already; gives the exit status."""
    with pytest.raises(SystemExit) as stop:
        main(["lab", "expressivity", *arguments])
    return stop.value.code


def test_the_command(tmp_path, capsys):
    picture = tmp_path / "ladder.png"
    assert command("schnet", "painn", "--layers", "1,2", "--seeds", "1", "--json", "--picture", str(picture)) == 0
    data = json.loads(capsys.readouterr().out)
    (row,) = [r for r in data["pairs"] if (r["name"], r["pair"]) == ("painn", "torsion")]
    assert row["from_layers"] == 2 and not row["shallow"]["told_apart"] and row["deep"]["margin"] > 1e5
    assert len(data["chains"]) == 6 and data["picasso"] == [] and data["surprises"] == []
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert command("schnet", "--layers", "1", "--experiments", "pairs") == 0
    assert "never" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (("--layers", "one"), "--layers 'one'"),
    (("--experiments", "stars", "--picture", "x.png"), "--picture shows pairs and chains"),
    (("shcnet",), "no architecture 'shcnet'"),
])
def test_the_command_says_what_is_wrong(arguments, message, capsys):
    assert command(*arguments) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_the_documented_tables_say_what_is_measured():
    """The docs' verdicts are those of the table that the first test measures."""
    text = DOCS.read_text(encoding="utf-8")
    found = 0
    for block in re.findall(r"((?:^\|.*\n)+)", text, flags=re.M):
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if head[0] or not set(head[1:]) <= set(PAIRS):
            continue
        for name, *cells in rows:
            for pair, cell in zip(head[1:], cells):
                layers = EXPECTED[name, pair].layers
                assert cell.startswith("never" if layers is None else f"from {layers} "), (name, pair, cell)
                found += 1
    assert found == len(FAMILIES) * len(PAIRS)
