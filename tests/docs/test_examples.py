"""examples/more_frames.py with a calculator that needs nothing else: what is added back is what was taken away."""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "more_frames.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("more_frames", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(count: int = 3) -> list:
    rng = np.random.default_rng(1)
    out = []
    for _ in range(count):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.03, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(9, 3)))
        out.append(atoms)
    return out


def test_what_label_adds_is_what_delta_took(script, monkeypatch):
    data = frames()
    taken = list(script.delta(data, EMT()))
    cheap = [script.labelled(atoms, *script.computed(atoms, EMT()), "300 K") for atoms in data]

    def answers(shift: float) -> SimpleNamespace:
        return SimpleNamespace(predict=lambda _frames, derivatives: [
            {"energy": a.get_potential_energy() + shift, "forces": a.get_forces() + shift} for a in taken])

    monkeypatch.setattr("zoo.load", lambda name: answers({"low": -0.5, "high": 0.5}[name]))
    back = list(script.label(cheap, script.predicted(cheap, ["low", "high"])))
    assert len(back) == len(data)
    for atoms, origin in zip(back, data):
        assert atoms.get_potential_energy() == pytest.approx(origin.get_potential_energy(), abs=1e-12)
        np.testing.assert_allclose(atoms.get_forces(), origin.get_forces(), atol=1e-12)
        assert atoms.info["config_type"] == "300 K"


def test_compare_tells_kinds_apart_in_milli_electronvolts(script):
    data = [script.labelled(a, 0.0, a.get_forces(), kind) for a, kind in zip(frames(), ("300 K", "turn", "turn"))]
    shifts = [np.full((9, 3), 0.001), np.full((9, 3), 0.003), np.full((9, 3), -0.004)]  # eV/Å
    answers = [{"forces": a.get_forces() + shift} for a, shift in zip(data, shifts)]
    found = script.compare(data, answers)
    assert found == pytest.approx({"300 K": 1.0, "turn": np.sqrt((9 + 16) / 2)})  # meV/Å, not a mean of frames' RMSE


def test_models_disagree_by_their_distance_from_the_first(script):
    data = [script.labelled(a, 0.0, a.get_forces(), kind) for a, kind in zip(frames(), ("300 K", "turn", "turn"))]
    said = [[{"forces": np.full((9, 3), value)} for value in values]  # eV/Å, a row a model
            for values in ((1.0, 1.0, 1.0), (1.001, 1.003, 0.996), (0.998, 1.0, 1.0))]
    assert script.disagreement(data, said[:2]) == pytest.approx({"300 K": 1.0, "turn": np.sqrt((9 + 16) / 2)})
    assert script.disagreement(data, said) == pytest.approx({"300 K": np.sqrt((1 + 4) / 2), "turn": np.sqrt(25 / 4)})
    assert script.disagreement(data, said[:1]) == {}  # one model: nothing to compare


def test_frames_that_are_pressed_too_far_are_left_out(script):
    pressed, fine = frames(2)
    pressed.positions[0] = pressed.positions[1] + [0.3, 0.0, 0.0]
    pressed = script.labelled(pressed, 0.0, np.zeros((9, 3)))
    assert script.computed(pressed, EMT()) is None
    assert len(list(script.delta([pressed, fine], EMT()))) == 1
    assert len(list(script.delta([pressed, fine], EMT(), max_force=np.inf))) == 2


def test_bonds_are_pressed_as_far_as_asked_for(script, monkeypatch):
    start = molecule("H2")
    rng = np.random.default_rng(0)
    length = start.get_distance(0, 1)
    found = [a.get_distance(0, 1) / length for a in script.bent([start], EMT(), rng, 20, (0.5, 0.7), np.inf)]
    assert 0.5 <= min(found) < 0.55 and 0.65 < max(found) <= 0.7
    only = list(script.bent([molecule("CH3CH2OH")], EMT(), rng, 8, max_force=np.inf, kinds=["turn"]))
    assert {a.info["config_type"] for a in only} == {"turn"}
    monkeypatch.setattr(script, "TRIES", 20)
    with pytest.raises(SystemExit, match=r"1e-09 eV.*0\.5 to 0\.7"):
        list(script.bent([start], EMT(), rng, 1, (0.5, 0.7), 1e-9))


def test_turns_and_stretches_move_one_side_as_a_rigid_body(script):
    start = molecule("CH3CH2OH")
    kinds = set()
    for seed in range(40):
        for kind in ("turn", "stretch"):
            atoms = start.copy()
            if not script._distort(atoms, kind, np.random.default_rng(seed)):
                continue
            kinds.add(kind)
            before, after = start.get_all_distances(), atoms.get_all_distances()
            moved = np.abs(atoms.positions - start.positions).max(axis=1) > 1e-9
            assert 2 * moved.sum() <= len(start) or kind == "turn"
            for part in (moved, ~moved):
                np.testing.assert_allclose(after[np.ix_(part, part)], before[np.ix_(part, part)], atol=1e-9)
    assert kinds == {"turn", "stretch"}


def test_a_bond_of_a_ring_is_left_alone(script):
    ring = molecule("C3H6_D3h")
    done = dict.fromkeys(("turn", "stretch"), 0)
    for seed in range(60):
        atoms = ring.copy()
        if script._distort(atoms, "stretch", np.random.default_rng(seed)):
            done["stretch"] += 1
            carbons = [k for k, s in enumerate(ring.symbols) if s == "C"]
            np.testing.assert_allclose(atoms.positions[carbons], ring.positions[carbons], atol=1e-9)
        done["turn"] += script._distort(ring.copy(), "turn", np.random.default_rng(seed))
    assert done["stretch"] and not done["turn"]


def test_sample_makes_as_many_frames_of_each_kind_as_it_is_asked_for(script, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "SETTLE", 3)
    monkeypatch.setattr(script, "APART", 2)
    ase.io.write(tmp_path / "frames.xyz", frames())
    monkeypatch.setattr("sys.argv", [
        "more_frames.py", "sample", str(tmp_path / "frames.xyz"), str(tmp_path / "out.xyz"),
        "--calculator", "ase.calculators.emt:EMT", "--bent", "5",
        "--stretch", "0.9", "1.1", "--max-force", "50", "--temperature", "400=3", "--temperature", "900=2"])
    script.main()
    kinds = [atoms.info["config_type"] for atoms in ase.io.read(tmp_path / "out.xyz", ":")]
    assert kinds[:5] == ["400 K"] * 3 + ["900 K"] * 2
    assert set(kinds[5:]) <= {"turn", "stretch"} and len(kinds) == 10


def test_dynamics_and_bent_frames_carry_the_calculators_labels(script, monkeypatch):
    monkeypatch.setattr(script, "SETTLE", 3)
    monkeypatch.setattr(script, "APART", 2)
    visited = list(script.dynamics(frames(), EMT(), np.random.default_rng(0), {300: 4, 600: 2}))
    some = visited + list(script.bent(visited, EMT(), np.random.default_rng(0), 6))
    assert [a.info["config_type"] for a in some[:6]] == ["300 K"] * 4 + ["600 K"] * 2
    assert {a.info["config_type"] for a in some[6:]} <= {"turn", "stretch"} and len(some) == 12
    for atoms in some:
        energy, forces = script.computed(atoms, EMT())
        assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)


def test_a_model_of_the_zoo_labels_frames_for_another(script, monkeypatch, tmp_path):
    import zoo

    monkeypatch.setattr(script, "SETTLE", 2)
    monkeypatch.setattr(script, "APART", 1)
    ase.io.write(tmp_path / "frames.xyz", frames())
    monkeypatch.setattr("sys.argv", [
        "more_frames.py", "sample", str(tmp_path / "frames.xyz"), str(tmp_path / "out.xyz"), "--temperature", "300=3",
        "--calculator", "zoo:painn-ethanol", "--option", "dtype=float64", "--bent", "4", "--bend", "stretch",
        "--max-force", "100"])
    script.main()
    made = ase.io.read(tmp_path / "out.xyz", ":")
    assert [a.info["config_type"] for a in made] == ["300 K"] * 3 + ["stretch"] * 4
    teacher = zoo.load("painn-ethanol", dtype="float64")
    for atoms, said in zip(made, teacher.predict(made, derivatives=["forces"])):
        assert atoms.get_potential_energy() == pytest.approx(float(said["energy"]), abs=1e-6)
        # Positions are written to 1e-8 Å, forces to 1e-8 eV/Å.
        np.testing.assert_allclose(atoms.get_forces(), said["forces"], atol=1e-5)
