"""Pictures of a simulation, as PNG files. matplotlib is imported when a picture is made."""

from __future__ import annotations

from pathlib import Path

from zoo.pictures.figure import grid, write
from zoo.properties.phonons import Phonons
from zoo.properties.scan import Scan
from zoo.simulation.recording import read_log

__all__ = ["draw_bands", "draw_energies", "draw_scan"]

_SHOWN = (-100.0, 1000.0)  # eV; where a network is far outside of what it knows, energies may be anything


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


def draw_energies(log: Path, picture: Path, *, n_atoms: int, title: str = "") -> Path:
    """Conserved energy, potential and kinetic energy per atom, and temperature, over the time of a run."""
    columns = read_log(log)
    figure, (conserved, parts, temperature) = grid(3)
    for replica in sorted(set(columns["replica"])):
        own = columns["replica"] == replica
        time = columns["time_fs"][own] / 1000
        first = columns["potential_eV"][own][0]
        style = {"lw": 0.8, "alpha": 1.0 if replica == 0 else 0.5}
        energy = columns["conserved_eV"][own]
        conserved.plot(time, 1000 * (energy - energy[0]) / n_atoms, color="C0", **style)
        for name, colour in (("potential", "C1"), ("kinetic", "C2")):
            value = columns[f"{name}_eV"][own] - (first if name == "potential" else 0.0)
            parts.plot(time, 1000 * value / n_atoms, color=colour, label=name if replica == 0 else None, **style)
        temperature.plot(time, columns["temperature_K"][own], color="C3", **style)
    conserved.set(title="conserved energy", ylabel="change / meV per atom")
    parts.set(title="parts of the energy", ylabel="meV per atom")
    parts.legend(frameon=False, fontsize=8)
    temperature.set(title="temperature", ylabel="K")
    for axis in (conserved, parts, temperature):
        axis.set_xlabel("time / ps")
        axis.ticklabel_format(axis="y", useOffset=False)
    if title:
        figure.suptitle(title, fontsize=10)
    return write(figure, picture)


def draw_scan(scan: Scan, picture: Path, *, title: str = "") -> Path:
    """Energies of compressed and stretched bonds and of rotations about bonds, colored by kind of bond."""
    parts = [("length / relaxed length", scan.bonds), ("turned by / degrees", scan.turns)]
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
