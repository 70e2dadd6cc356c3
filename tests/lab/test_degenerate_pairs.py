"""The counter-examples are counter-examples: the same to the descriptors they are made against, and not the same."""

from __future__ import annotations

import ase
import pytest
import torch

from zoo.graph.graph import Graph
from zoo.graph.neighbors import add_edges
from zoo.lab.chains import chains
from zoo.lab.degeneracy import body_orders, bond_angles, congruent, degenerate_up_to
from zoo.lab.expressivity import turned
from zoo.lab.pairs import CUTOFF, Pair, pairs
from zoo.lab.picasso import LEVELS, face, faces

HIGHEST = 8
FACES = [Pair(level, {"bend": 2, "twist": None}[level], "", face(level, 0), face(level, 1)) for level in LEVELS]
ALL = [*pairs(), *chains(), *FACES]
SAME_AT_EVERY_BOND = {"lines", "torsion", "chirality", "2-chain", "3-chain", "4-chain", "twist"}


def edge_set(graph: Graph) -> set[tuple[int, int]]:
    return set(zip(graph.source.tolist(), graph.target.tolist()))


@pytest.mark.parametrize("pair", ALL, ids=lambda p: p.name)
def test_descriptors_agree_up_to_the_claimed_body_order_and_no_further(pair):
    assert degenerate_up_to(pair.a, pair.b, HIGHEST) == (pair.degenerate or HIGHEST)


@pytest.mark.parametrize("pair", ALL, ids=lambda p: p.name)
def test_the_two_are_not_the_same_structure(pair):
    assert congruent(pair.a, pair.b) == pair.mirror
    assert not congruent(pair.a, pair.b, reflections=False)


@pytest.mark.parametrize("pair", ALL, ids=lambda p: p.name)
def test_which_pairs_look_the_same_from_every_bond(pair):
    assert (bond_angles(pair.a) == bond_angles(pair.b)) == (pair.name in SAME_AT_EVERY_BOND)


@pytest.mark.parametrize("pair", ALL, ids=lambda p: p.name)
def test_bonds_are_all_pairs_within_the_cutoff_where_that_is_said(pair):
    for graph in (pair.a, pair.b):
        assert (edge_set(add_edges(graph, CUTOFF)) == edge_set(graph)) == pair.natural


@pytest.mark.parametrize("pair", ALL, ids=lambda p: p.name)
def test_a_turned_copy_is_the_same_to_every_check(pair):
    copy = turned(pair.a, 3)
    assert not torch.equal(copy.z, pair.a.z) or not torch.allclose(copy.pos, pair.a.pos)
    assert degenerate_up_to(pair.a, copy, 5) == 5
    assert bond_angles(pair.a) == bond_angles(copy)
    assert congruent(pair.a, copy, reflections=False)


def test_a_moved_atom_is_seen_by_every_check():
    star = pairs()[1].a
    pos = star.pos.clone()
    pos[2] = torch.linalg.matrix_exp(torch.tensor([[0, 0.01, 0], [-0.01, 0, 0], [0, 0, 0]]).double()) @ pos[2]
    moved = star.replace(pos=pos)
    assert body_orders(star, 2) == body_orders(moved, 2)
    assert body_orders(star, 3) != body_orders(moved, 3)
    assert bond_angles(star) != bond_angles(moved)
    assert not congruent(star, moved)


def test_an_exchanged_element_is_seen():
    star = pairs()[0].a
    other = star.replace(z=torch.tensor([6, 1, 9]))
    assert degenerate_up_to(star, other) == 1
    assert not congruent(star, other)


def test_dihedrals_are_those_that_ase_measures():
    torsion = next(p for p in pairs() if p.name == "torsion")
    for graph, dihedral in ((torsion.a, 60), (torsion.b, 150)):
        atoms = ase.Atoms(graph.z.numpy(), graph.pos.numpy())
        assert atoms.get_dihedral(0, 1, 2, 3) == pytest.approx(dihedral)
        assert atoms.get_angle(0, 1, 2) == pytest.approx(120)
        assert atoms.get_angle(1, 2, 3) == pytest.approx(120)


def test_the_three_lines_span_different_volumes():
    lines = next(p for p in pairs() if p.name == "lines")
    for graph, sign in ((lines.a, 1), (lines.b, -1)):
        x = torch.nn.functional.normalize(graph.pos[1::2])
        assert float(torch.det(x @ x.T)) == pytest.approx(1 - 3 / 16 + sign * 2 / 64)


def test_faces_are_turned_and_jittered_and_keep_their_class():
    kinds = torch.tensor([0, 1, 1])
    batch = faces("twist", kinds, torch.Generator().manual_seed(5))
    assert batch.pos.dtype == torch.float32 and batch.num_graphs == 3 and batch.num_edges == 3 * 16
    dihedrals = [60, 150, 150]
    for b, dihedral in enumerate(dihedrals):
        atoms = ase.Atoms(batch.z[9 * b : 9 * b + 9].numpy(), batch.pos[9 * b : 9 * b + 9].numpy())
        measured = atoms.get_dihedral(0, 3, 6, 7)
        assert 0.1 < abs(measured - dihedral) < 8 or 0.1 < abs(360 - measured - dihedral) < 8
    assert not torch.allclose(batch.pos[9:18], batch.pos[18:27], atol=0.2)
    again = faces("twist", kinds, torch.Generator().manual_seed(5))
    assert torch.equal(batch.pos, again.pos)
