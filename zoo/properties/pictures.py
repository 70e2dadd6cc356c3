"""Phonon bands, energy scans and the Delta test as PNG files."""

from __future__ import annotations

from pathlib import Path

from zoo.pictures.figure import empty, grid, write
from zoo.properties.elemental_crystals import DeltaTest
from zoo.properties.energy_scan import Scan
from zoo.properties.lattice_dynamics import Phonons

__all__ = ["draw_bands", "draw_delta", "draw_scan"]

_SHOWN = (-100.0, 1000.0)  # eV; far outside the training data, energies may be arbitrarily large


def draw_bands(phonons: Phonons, picture: Path, *, title: str = "") -> Path:
    """Frequencies along the path through the special points; imaginary ones below zero."""
    path = phonons.path()
    along, ticks, labels = path.get_linear_kpoint_axis()
    figure, (axis,) = grid(1)
    figure.set_size_inches(6, 4)
    axis.plot(along, phonons.frequencies(path.kpts), color="C0", lw=1.2)
    axis.axhline(0, color="0.3", lw=0.6)
    for place in ticks:
        axis.axvline(place, color="0.8", lw=0.6, zorder=0)
    axis.set(xlim=(along[0], along[-1]), ylabel="frequency / THz", title=title)
    axis.set_xticks(ticks, [label.replace("G", "Γ") for label in labels])
    return write(figure, picture)


def draw_delta(test: DeltaTest, picture: Path, *, title: str = "") -> Path:
    """Δ of each element in the periodic table; crosses mark crystals without a minimum."""
    from ase.data import atomic_numbers
    from matplotlib.colors import LogNorm

    figure = empty(9, 4.2)
    axis = figure.add_subplot()
    places = {name: _place(atomic_numbers[name]) for name in (*test.crystals, *test.failed)}
    deltas = [entry.delta for entry in test.crystals.values()]
    spots = axis.scatter(*_columns([places[name] for name in test.crystals]), c=deltas, s=620, marker="s",
                         cmap="viridis_r", norm=LogNorm(0.3, 30))
    if test.failed:
        axis.scatter(*_columns([places[name] for name in test.failed]), s=620, marker="x", color="0.75")
    for name, (group, period) in places.items():
        entry = test.crystals.get(name)
        colour = "white" if entry is not None and entry.delta > 4 else "black"
        axis.text(group, period - 0.12, name, ha="center", va="center", fontsize=9, color=colour)
        if entry is not None:
            digits = 1 if entry.delta < 9.95 else 0
            axis.text(group, period + 0.2, f"{entry.delta:.{digits}f}", ha="center", va="center", fontsize=6.5,
                      color=colour)
    figure.colorbar(spots, ax=axis, extend="both", label="Δ / meV per atom")
    axis.set(xlim=(0.3, 18.7), ylim=(6.7, 0.3), title=title, xticks=[], yticks=[])
    axis.set_frame_on(False)
    return write(figure, picture)


def _columns(places: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [group for group, _ in places], [period for _, period in places]


def _place(number: int) -> tuple[int, int]:
    """Group and period of an element; of the lanthanides, Lu alone has a place, in group 3."""
    noble = (0, 2, 10, 18, 36, 54, 86)
    period = next(p for p, last in enumerate(noble) if number <= last)
    along, length = number - noble[period - 1], noble[period] - noble[period - 1]
    if along <= 2 and number != 2:
        return along, period
    return along + 18 - length, period


def draw_scan(scan: Scan, picture: Path, *, title: str = "") -> Path:
    """Energies of compressed and stretched bonds and of rotations about bonds, colored by kind of bond."""
    parts = [("length / relaxed length", scan.bonds), ("rotation / degrees", scan.rotations)]
    figure, axes = grid(len(parts))
    for axis, (label, curves) in zip(axes, parts):
        colours = {kind: f"C{k}" for k, kind in enumerate(sorted({c.kind for c in curves}))}
        for curve in curves:
            axis.plot(curve.at, curve.energy, color=colours[curve.kind], lw=1.0)
        for kind, colour in colours.items():
            axis.plot([], [], color=colour, label=kind)
        if colours:
            axis.legend(frameon=False, fontsize=8, loc="upper right")
        axis.axhline(0, color="0.3", lw=0.6)
        axis.set_yscale("symlog", linthresh=1.0)
        axis.set(xlabel=label, title=title, ylim=_SHOWN)
    axes[0].set_ylabel("energy / eV")
    return write(figure, picture)
