"""Bonds pressed, stretched and turned about: what a scan finds of surfaces whose faults are known."""

from __future__ import annotations

import ase.build
import numpy as np
import pytest
import torch
from springs import Morse, morse_model, spoilt, spring_model

from zoo.errors import StructureError
from zoo.properties import scan
from zoo.properties.energy_scan import Curve


class Pit(torch.nn.Module):
    """The backbone's energy, and a hole of ``depth`` eV between nuclei nearer than ``reach`` Å, with a soft rim."""

    def __init__(self, backbone: Morse, reach: float, depth: float) -> None:
        super().__init__()
        self.inner, self.reach, self.depth = backbone, reach, depth
        self.cutoff, self.irreps_out = backbone.cutoff, backbone.irreps_out

    def forward(self, graph):
        pair = self.depth * torch.sigmoid((self.reach - graph.edge_len) / 0.01)
        return self.inner(graph) - torch.zeros(graph.num_nodes, 1).to(pair).index_add_(0, graph.target, pair[:, None])


def test_a_bond_that_only_repels_and_binds_rises_both_ways():
    report = scan(morse_model(), ase.build.molecule("O2")).report()
    bond = report["bonds"]["O-O"]
    assert (bond["bonds"], bond["rises"], bond["scanned"]) == (1, [0.4, 1.6], [0.4, 1.6])
    assert bond["lowest_eV"] == 0.0 and not bond["hole"] and bond["lowest_at"] == 1.0
    assert report["turns"] == [] and report["start_relaxed"] and report["not_finite"] == 0


def test_a_hole_is_found_where_it_is_and_how_deep():
    model = morse_model()
    whole = scan(model, ase.build.molecule("O2"))
    length = whole.bonds[0].length
    model.backbone = Pit(model.backbone, 0.6 * length, 50.0)
    spoiled = scan(model, ase.build.molecule("O2"))
    bond = spoiled.report()["bonds"]["O-O"]
    assert bond["rises"] == [0.65, 1.6] and bond["hole"] and bond["lowest_at"] < 0.6
    # Both atoms carry the pit.
    np.testing.assert_allclose(whole.bonds[0].energy[0] - spoiled.bonds[0].energy[0], 100.0, atol=0.01)


def test_both_sides_stay_rigid_and_the_lighter_one_moves():
    start = ase.build.molecule("CH3CH2OH")
    model = spring_model(start)
    found = scan(model, start, step=0.2, degrees=60)
    relaxed = found.structure
    by_atoms = {curve.atoms: curve for curve in found.bonds}
    assert len(by_atoms) == 8 and [c.kind for c in found.rotations] == ["C-C", "C-O"]
    for curve in found.bonds:
        first, second = curve.atoms
        # The energy of the pressed structure, made by hand from the distances of its two sides.
        pressed = relaxed.copy()
        side = _reach(found, first, second)
        heavy = relaxed.get_masses()[side].sum() > relaxed.get_masses()[~side].sum()
        moved, anchor, side = (second, first, ~side) if heavy else (first, second, side)
        bond = pressed.positions[moved] - pressed.positions[anchor]
        pressed.positions[side] -= 0.6 * bond
        above = np.subtract(*(p["energy"] for p in model.predict([pressed, relaxed])))
        assert curve.at[0] == pytest.approx(0.4) and curve.energy[0] == pytest.approx(above, abs=1e-6)


def _reach(found, first, second):
    edges = {frozenset(c.atoms) for c in found.bonds} - {frozenset((first, second))}
    reached = {first}
    for _ in range(len(edges)):
        reached |= {a for edge in edges if edge & reached for a in edge}
    return np.isin(np.arange(len(found.structure)), list(reached))


def test_a_turn_of_a_full_circle_ends_where_it_began_and_a_methyl_has_three_minima():
    found = scan(spring_model(ase.build.molecule("C2H6")), ase.build.molecule("C2H6"), degrees=20)
    (turn,) = found.rotations
    assert turn.at[0] == -180 and turn.at[-1] == 180 and turn.at[turn.origin] == 0
    assert turn.energy[0] == pytest.approx(turn.energy[-1], abs=1e-9)
    np.testing.assert_allclose(turn.energy[turn.origin + 6], 0.0, atol=1e-3)  # by 120°
    assert turn.rises() == (-60.0, 60.0)


def test_a_stretch_ends_where_a_proton_has_come_over():
    # O–H…O: half way between the oxygens the other one is as near.
    atoms = ase.Atoms("OHOH", positions=[[0, 0, 0], [0.97, 0, 0], [2.4, 0, 0], [2.4, 0.97, 0]])
    found = scan(spring_model(atoms, repulsion=0.0), atoms)
    curve = next(c for c in found.bonds if c.atoms == (1, 0))
    relaxed = found.structure
    assert curve.at[-1] * curve.length < relaxed.get_distance(0, 2) / 2 + 0.05 * curve.length
    assert curve.at[-1] < 1.6 and curve.at[0] == pytest.approx(0.4)


def test_bonds_of_a_ring_and_straight_chains_are_left_out():
    cyclopropane = ase.build.molecule("C3H6_D3h")
    ring = scan(spring_model(cyclopropane), cyclopropane, step=0.3)
    assert ring.in_rings == 3 and {c.kind for c in ring.bonds} == {"C-H"} and ring.rotations == []
    straight = ase.Atoms("HCCH", positions=[[0, 0, -1.66], [0, 0, -0.6], [0, 0, 0.6], [0, 0, 1.66]])
    found = scan(spring_model(straight), straight, step=0.3)
    assert found.rotations == [] and [c.kind for c in found.bonds].count("C-H") == 2


def test_rising_is_told_from_the_relaxed_structure_outwards():
    energy = np.array([5.0, 7.0, 3.0, 1.0, 0.0, 1.0, 2.0, np.nan, 4.0])
    curve = Curve("C-C", (0, 1), 1.5, np.linspace(0.6, 1.4, 9), energy, origin=4)
    assert curve.rises() == pytest.approx((0.7, 1.2))
    assert (curve.highest, curve.lowest) == (7.0, 0.0)


def test_what_is_not_finite_is_counted_and_no_energy():
    class Broken(Pit):
        def forward(self, graph):
            close = torch.zeros(graph.num_nodes).index_add_(0, graph.target, (graph.edge_len < 0.6).float())
            return self.inner(graph).where(close[:, None] == 0, torch.nan)

    model = morse_model()
    model.backbone = Broken(model.backbone, 0.0, 0.0)
    found = scan(model, ase.build.molecule("O2"))
    report = found.report()
    assert report["not_finite"] == int(np.isnan(found.bonds[0].energy).sum()) > 0
    assert report["bonds"]["O-O"]["rises"][0] > 0.4 and not report["bonds"]["O-O"]["hole"]


def test_crystals_atoms_and_models_without_finite_energies_are_refused():
    with pytest.raises(StructureError, match="zoo lab eos"):
        scan(morse_model(), ase.build.bulk("Cu"))
    with pytest.raises(StructureError, match="bonded"):
        scan(morse_model(), ase.Atoms("H"))
    with pytest.raises(StructureError, match="finite"):
        scan(spoilt(morse_model(), element=8), ase.build.molecule("H2O"))
