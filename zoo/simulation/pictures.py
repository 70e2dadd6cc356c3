"""Plots of a run of molecular dynamics and of a reaction path, as PNG files."""

from __future__ import annotations

from pathlib import Path

from zoo.pictures.figure import grid, write
from zoo.simulation.elastic_band import ReactionPath
from zoo.simulation.recording import read_log

__all__ = ["draw_energies", "draw_path"]


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


def draw_path(path: ReactionPath, picture: Path, *, title: str = "") -> Path:
    """Energies of the images above the first one, over the length of the path."""
    figure, (axis,) = grid(1)
    along, energy = path.coordinate, 1000 * (path.energies - path.energies[0])
    axis.plot(along, energy, "o-", color="C0", lw=0.8, ms=4)
    axis.plot(along[path.highest], energy[path.highest], "o", color="C3", ms=6)
    axis.annotate(f"{1000 * path.barrier:.0f} meV", (along[path.highest], energy[path.highest]), xytext=(0, 6),
                  textcoords="offset points", ha="center", fontsize=8)
    axis.set(xlabel="length of the path / Å", ylabel="energy / meV", title=title)
    axis.margins(y=0.15)
    return write(figure, picture)
