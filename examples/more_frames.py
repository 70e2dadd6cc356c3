"""Training frames beyond a data set, from a cheaper method and a model of what that method is off by.

    pip install tblite                                               # GFN2-xTB; any other ASE calculator does as well
    python examples/more_frames.py delta  frames.xyz delta.xyz       # labels less those of the cheaper method
    zoo train DELTA_CARD --data delta.xyz --out runs/delta           # a model of the difference
    python examples/more_frames.py sample frames.xyz sampled.xyz     # hotter, bent and stretched geometries
    python examples/more_frames.py label  sampled.xyz more.xyz runs/delta   # cheaper method + difference
    python examples/more_frames.py compare more.xyz MODEL…           # how far models are from these labels, by kind

A model may take the cheaper method's place, and then there is nothing to correct: a faster network learns from it.

    python examples/more_frames.py sample frames.xyz more.xyz --calculator zoo:nequip-acac --option compile=yes

``more.xyz`` beside the frames that one had is what a last model is trained on. The difference of two methods varies
less and more slowly than either energy, so fewer frames tell it, and where it has to be extrapolated the cheaper method
still knows what a bond is (Δ-machine learning: R. Ramakrishnan, P. O. Dral, M. Rupp & O. A. von Lilienfeld, J. Chem.
Theory Comput. 11, 2087 (2015)).

All frames are one molecule with its atoms in one order. Energies in eV, forces in eV/Å. The card of the difference says
``reference: fitted``, since the two methods count energies from other zeros, and has no prior.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin

from zoo.properties.bonds import Bonds
from zoo.properties.sides import lighter_side, turns_about

TEMPERATURES = {300: 1500, 600: 3000, 1000: 1500}  # K: frames
BENT, BENDS = 2000, ("turn", "stretch")
EACH, SETTLE, APART, TIMESTEP_FS = 100, 200, 20, 1.0  # frames of a trajectory; steps before the first, between two
STRETCH = (0.8, 1.5)  # times the bond's length
MAX_FORCE = 20.0  # eV/Å: left out where any component is larger
TRIES = 1000  # bent frames in a row that may come to nothing


def labelled(atoms: Atoms, energy: float, forces: np.ndarray, kind: str | None = None) -> Atoms:
    copy = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    copy.info = {} if kind is None else {"config_type": kind}
    copy.calc = SinglePointCalculator(copy, energy=float(energy), forces=forces)
    return copy


def computed(atoms: Atoms, calculator: Calculator, max_force: float = MAX_FORCE) -> tuple[float, np.ndarray] | None:
    """Energy (eV) and forces (N, 3) (eV/Å); None where the method does not converge or a force is above the largest."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=calculator)
    try:
        energy, forces = bare.get_potential_energy(), bare.get_forces()
    except (CalculatorError, RuntimeError):
        return None
    return (energy, forces) if np.isfinite(energy) and np.abs(forces).max() <= max_force else None


def delta(frames: list[Atoms], calculator: Calculator, max_force: float = MAX_FORCE) -> Iterator[Atoms]:
    """The frames with what the calculator is off by in place of their labels."""
    for atoms in frames:
        found = computed(atoms, calculator, max_force)
        if found is not None:
            yield labelled(atoms, atoms.get_potential_energy() - found[0], atoms.get_forces() - found[1])


def dynamics(frames: list[Atoms], calculator: Calculator, rng: np.random.Generator,
             temperatures: dict[int, int] = TEMPERATURES) -> Iterator[Atoms]:
    """Frames of Langevin dynamics, many short trajectories that start all over the data."""
    for temperature, count in temperatures.items():
        starts = np.linspace(0, len(frames) - 1, -(-count // EACH)).round().astype(int)
        for done, start in zip(range(0, count, EACH), starts):
            atoms = Atoms(frames[start].numbers, frames[start].positions, calculator=calculator)
            width = np.sqrt(atoms.get_masses() * units.kB * temperature)
            atoms.set_momenta(width[:, None] * rng.normal(size=(len(atoms), 3)))
            run = Langevin(atoms, TIMESTEP_FS * units.fs, temperature_K=temperature, friction=0.02 / units.fs,
                           fixcm=False, rng=rng)
            run.run(SETTLE)
            for _ in range(min(EACH, count - done)):
                run.run(APART)
                yield labelled(atoms, atoms.get_potential_energy(), atoms.get_forces(), f"{temperature} K")


def bent(frames: list[Atoms], calculator: Calculator, rng: np.random.Generator, count: int = BENT,
         stretch: tuple[float, float] = STRETCH, max_force: float = MAX_FORCE,
         kinds: Sequence[str] = BENDS) -> Iterator[Atoms]:
    """Frames with one bond turned by any angle, or pressed or stretched; the lighter side moves as a rigid body."""
    failed = 0
    while count:
        atoms = frames[rng.integers(len(frames))].copy()
        kind = kinds[rng.integers(len(kinds))]
        if _distort(atoms, kind, rng, stretch) and (found := computed(atoms, calculator, max_force)) is not None:
            yield labelled(atoms, *found, kind)
            count, failed = count - 1, 0
        elif (failed := failed + 1) == TRIES:
            span = f"{stretch[0]:g} to {stretch[1]:g} times a bond's length (--stretch)"
            raise SystemExit(f"{TRIES} bent frames in a row came to nothing: no bond to bend, or forces above "
                             f"{max_force:g} eV/Å (--max-force) at {span}")


def _distort(atoms: Atoms, kind: str, rng: np.random.Generator, stretch: tuple[float, float] = STRETCH) -> bool:
    """Turn or stretch a random bond; False when it cannot be: in a ring, or nothing beyond it to turn."""
    bonds = Bonds.of(atoms)
    pairs = list(zip(bonds.first.tolist(), bonds.second.tolist()))
    pair = pairs[rng.integers(len(pairs))]
    side = lighter_side(atoms, pairs, pair)
    if side is None or (kind == "turn" and not turns_about(atoms, pairs, pair)):
        return False
    anchor, moved = (pair[1], pair[0]) if side[pair[0]] else pair
    axis = atoms.positions[moved] - atoms.positions[anchor]
    if kind == "stretch":
        atoms.positions[side] += axis * (rng.uniform(*stretch) - 1)
    else:
        turned = atoms.copy()
        turned.rotate(rng.uniform(-180, 180), axis, center=atoms.positions[anchor])
        atoms.positions[side] = turned.positions[side]
    return True


def predicted(frames: list[Atoms], models: list[str]) -> list[list[dict]]:
    """What each model says of each frame."""
    import zoo

    return [zoo.load(name).predict(frames, derivatives=["forces"]) for name in models]


def label(frames: list[Atoms], predictions: list[list[dict]], max_force: float = MAX_FORCE) -> Iterator[Atoms]:
    """The frames with the mean of what models predict added to their labels."""
    for atoms, *added in zip(frames, *predictions):
        forces = atoms.get_forces() + np.mean([np.asarray(p["forces"]) for p in added], axis=0)
        energy = atoms.get_potential_energy() + np.mean([float(p["energy"]) for p in added])
        if np.abs(forces).max() <= max_force:
            yield labelled(atoms, energy, forces, atoms.info.get("config_type"))


def compare(frames: list[Atoms], predictions: list[dict]) -> dict[str, float]:
    """meV/Å: how far a model's forces are from the labels, RMSE of each kind of frame."""
    return by_kind(frames, [found["forces"] - atoms.get_forces() for atoms, found in zip(frames, predictions)])


def disagreement(frames: list[Atoms], predictions: list[list[dict]]) -> dict[str, float]:
    """meV/Å: how far the models' forces are from those of the first one, RMSE of each kind of frame."""
    first, *others = predictions
    return by_kind(frames * len(others), [b["forces"] - a["forces"] for other in others for a, b in zip(first, other)])


def by_kind(frames: list[Atoms], differences: list[np.ndarray]) -> dict[str, float]:
    off: dict[str, list[np.ndarray]] = {}
    for atoms, difference in zip(frames, differences):
        off.setdefault(atoms.info.get("config_type", "all"), []).append(np.asarray(difference))
    return {kind: 1e3 * rms(found) for kind, found in off.items()}


def rms(values: list[np.ndarray]) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values)))))


def main() -> None:
    said = arguments()
    frames = ase.io.read(said.frames, ":")
    if said.step == "compare":
        for name in said.models:
            show(name, compare(frames, *predicted(frames, [name])))
    elif said.step == "label":
        predictions = predicted(frames, said.models)
        ase.io.write(said.out, list(label(frames, predictions, said.max_force)))
        if len(predictions) > 1:
            show("forces of models apart, meV/Å", disagreement(frames, predictions))
    elif said.step == "delta":
        differences = list(delta(frames, made(said.calculator, said.option), said.max_force))
        ase.io.write(said.out, differences)
        print(f"forces, eV/Å: {rms([a.get_forces() for a in frames]):.3g}, off by "
              f"{rms([a.get_forces() for a in differences]):.3g}")
    else:
        rng, calculator = np.random.default_rng(said.seed), made(said.calculator, said.option)
        visited = list(dynamics(frames, calculator, rng, dict(said.temperature or TEMPERATURES.items())))
        bends = bent(visited, calculator, rng, said.bent, tuple(said.stretch), said.max_force, said.bend or BENDS)
        ase.io.write(said.out, visited + list(bends))


def show(name: str, kinds: dict[str, float]) -> None:
    print(name, *(f"{kind}: {value:.3g}" for kind, value in kinds.items()), sep="   ")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    for step in ("delta", "sample", "label", "compare"):
        takes = steps.add_parser(step)
        takes.add_argument("frames")
        if step != "compare":
            takes.add_argument("out")
            takes.add_argument("--max-force", type=float, default=MAX_FORCE,
                               help="eV/Å; frames with a larger one are left out (20 unless given)")
        if step in ("label", "compare"):
            takes.add_argument("models", nargs="+")
        else:
            takes.add_argument("--calculator", default="tblite.ase:TBLite",
                               help="module:class of an ASE calculator, or zoo:MODEL")
            takes.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of the calculator")
        if step == "sample":
            takes.add_argument("--seed", type=int, default=0)
            takes.add_argument("--temperature", action="append", type=_share, metavar="K=FRAMES",
                               help="frames of dynamics at K kelvin (300=1500, 600=3000 and 1000=1500 unless given)")
            takes.add_argument("--bent", type=int, default=BENT, help="frames with a turned or stretched bond")
            takes.add_argument("--bend", action="append", choices=BENDS, help="only these (both unless given)")
            takes.add_argument("--stretch", type=float, nargs=2, default=STRETCH, metavar=("LEAST", "MOST"),
                               help="how long a stretched bond is, times its length (0.8 1.5 unless given)")
    return parser.parse_args()


def _share(text: str) -> tuple[int, int]:
    temperature, count = text.split("=")
    return int(temperature), int(count)


def made(calculator: str, given: list[str]) -> Calculator:
    options: dict[str, Any] = dict(text.split("=", 1) for text in given)
    if calculator == "tblite.ase:TBLite":
        options = {"method": "GFN2-xTB", "verbosity": 0} | options
    module, name = calculator.split(":")
    if module == "zoo":
        import zoo

        return zoo.load(name).calculator(**options)
    return getattr(importlib.import_module(module), name)(**options)


if __name__ == "__main__":
    main()
