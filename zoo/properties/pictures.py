"""Phonon bands and energy scans as PNG files."""

from __future__ import annotations

from pathlib import Path

from zoo.pictures.figure import grid, write
from zoo.properties.energy_scan import Scan
from zoo.properties.lattice_dynamics import Phonons

__all__ = ["draw_bands", "draw_scan"]

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
