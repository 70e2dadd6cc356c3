"""`zoo md`: molecular dynamics of a structure, or of several replicas of it in one batch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.options import Compile, Periodic
from zoo.errors import ZooError
from zoo.process.progress import progress

if TYPE_CHECKING:
    import ase
    from rich.console import Console

    from zoo.model.model import Model
    from zoo.properties import CoverageMonitor
    from zoo.simulation import Dynamics
    from zoo.simulation.recording import Recorder

__all__ = ["md"]

_CHECKPOINT_S = 10.0


def md(
    file: Annotated[Path, typer.Argument(help="A structure file; if it holds several, the first is used.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of `zoo list`, a card folder, or "
                                                             "hf:org/repo[@rev].")],
    steps: Annotated[
        int, typer.Option(min=1, help="Number of steps in all; a restart runs the remaining ones.")
    ] = 1000,
    temperature: Annotated[
        float, typer.Option(min=0, help="K; with NVE the temperature of the initial velocities.")
    ] = 300.0,
    timestep: Annotated[float, typer.Option(help="Time step in fs.")] = 0.5,
    ensemble: Annotated[str, typer.Option(help="nvt (Langevin, BAOAB) or nve (velocity Verlet).")] = "nvt",
    friction: Annotated[float, typer.Option(help="Friction of the thermostat in 1/fs, NVT only.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Seed of velocities and noise; replica r uses seed + r.")] = 0,
    replicas: Annotated[int, typer.Option(min=1, help="Runs of the same structure in one batch.")] = 1,
    relax: Annotated[bool, typer.Option("--relax", help="Relax the structure first.")] = False,
    output: Annotated[
        Path, typer.Option("--output", "-o",
            help="Trajectory, .extxyz; log, restart file and picture are written next to it.")
    ] = Path("traj.extxyz"),
    every: Annotated[int, typer.Option(min=1, help="Steps between two frames.")] = 20,
    restart: Annotated[bool, typer.Option("--restart", help="Continue from the restart file.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    pbc: Periodic = True,
    compile: Compile = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; warnings are still shown.")] = False,
) -> None:
    """Molecular dynamics. Ctrl-C ends it after the current step and writes a restart file.

    A run that blows up stops and the others continue; the exit status is then 2.
    """
    from zoo.cli import errors
    from zoo.loading.models import load
    from zoo.process import machine
    from zoo.properties import CoverageMonitor
    from zoo.simulation import Dynamics
    from zoo.simulation import relax as relaxed
    from zoo.simulation.recording import Recorder, Restart, files_of

    if output.suffix not in (".extxyz", ".xyz"):
        raise ZooError(f"--output {output}: trajectories are extended XYZ. Fix: let its name end in .extxyz")
    files, screen = files_of(output, replicas), errors()
    resume = Restart.read(files.restart) if restart else None
    machine.keep_memory()
    field = load(model, device=device, dtype=dtype)
    atoms = _structure(file, pbc=pbc)
    settings = {"structure": atoms.get_chemical_formula("reduce"), "model": _identity(field), "ensemble": ensemble,
                "temperature": temperature, "timestep": timestep, "friction": friction, "seed": seed,
                "replicas": replicas, "every": every, "dtype": dtype}
    if resume is not None:
        resume.check(settings)
    elif relax:
        atoms = relaxed(field, atoms, compile=compile)
        _print_relaxed(screen, atoms)
    dynamics = Dynamics(field, [atoms] * replicas, timestep=timestep, ensemble=ensemble, temperature=temperature,
                        friction=friction, seed=seed, compile=compile)
    monitor = CoverageMonitor(field.card.domain, [atoms] * replicas, model=field) if field.card is not None else None
    if monitor is not None:
        _print_limits(screen, monitor)
    recorder = Recorder(files, dynamics, settings, resume=resume)
    try:
        if resume is not None:
            dynamics.load_state_dict(resume.state)
        else:
            recorder.record()
        began, start = time.perf_counter(), dynamics.steps_done
        stopped = _run(dynamics, recorder, monitor, screen, steps=steps, every=every, quiet=quiet)
        seconds = time.perf_counter() - began
    finally:
        recorder.close()
    _finish(screen, dynamics, recorder, monitor, len(atoms), seconds, dynamics.steps_done - start)
    if stopped:
        screen.print(f"interrupted after {dynamics.steps_done} of {steps} steps: add --restart to the command to "
                     "continue", style="yellow")
        raise typer.Exit(130)
    if bool(dynamics.failed.any()):
        raise typer.Exit(2)


def _structure(file: Path, *, pbc: bool) -> ase.Atoms:
    from zoo.structures.reading import read_structures

    first = next(iter(read_structures([file], pbc=pbc)))
    if first.atoms is None:
        raise first.error or ZooError(f"{file}: holds no structure. Fix: give a file with at least one")
    return first.atoms


def _identity(model: Model) -> str:
    """Name and hash of the weights, which a restart compares."""
    if model.card is None or model.card.weights is None:
        return "untrained"
    return f"{model.card.name}:{model.card.weights.sha256[:16]}"


def _run(dynamics: Dynamics, recorder: Recorder, monitor: CoverageMonitor | None, screen: Console, *, steps: int,
         every: int, quiet: bool) -> bool:
    """Run and record; returns whether a signal ended the run."""
    from zoo.process.signals import watched

    saved = time.perf_counter()
    with (watched("SIGINT", "SIGTERM", "SIGUSR1") as notice,
          progress("md", quiet=quiet, screen=screen) as report):
        while dynamics.steps_done < steps and not notice.received:
            dynamics.step()
            if bool(dynamics.failed.all()):
                break
            if dynamics.steps_done % every:
                continue
            recorder.record()
            for warning in monitor.check(dynamics) if monitor is not None else ():
                screen.print(f"warning: {warning}", style="yellow")
            report(dynamics.steps_done, steps, f"{float(dynamics.temperature.mean()):.0f} K")
            if time.perf_counter() - saved > _CHECKPOINT_S:
                recorder.checkpoint()
                saved = time.perf_counter()
        recorder.checkpoint()
        return notice.received


def _print_relaxed(screen: Console, atoms: Any) -> None:
    done = "relaxed" if atoms.info["relax_converged"] else "not relaxed"
    screen.print(f"{done}: {atoms.info['relax_steps']} steps, largest force {atoms.info['relax_fmax']:.3f} eV/Å")


def _print_limits(screen: Console, monitor: CoverageMonitor) -> None:
    if monitor.silent:
        screen.print("note: the model's card gives no range of its training data: leaving it is not noticed",
                     style="dim")
    for kind in monitor.unknown_kinds():
        screen.print(f"warning: the model was trained on no {kind} bond", style="yellow")


def _finish(screen: Console, dynamics: Dynamics, recorder: Recorder, monitor: CoverageMonitor | None, n_atoms: int,
            seconds: float, done: int) -> None:
    from zoo.simulation.pictures import draw_energies
    from zoo.simulation.recording import read_log

    log = read_log(recorder.files.log)
    first = log["replica"] == 0
    change = 1000 * (log["conserved_eV"][first] - log["conserved_eV"][first][:1]) / n_atoms
    for number in dynamics.failed.nonzero()[:, 0].tolist():
        which = "the run" if len(dynamics.failed) == 1 else f"run {number} of {len(dynamics.failed)}"
        reason = dynamics.reasons.get(number, "before the restart")
        screen.print(f"error: {which} blew up: {reason}. Fix: use a shorter --timestep, or --relax the structure first",
                     style="red")
    written = [*recorder.files.trajectories, recorder.files.log, recorder.files.restart]
    if not first.any():
        screen.print("wrote " + ", ".join(map(str, written)), soft_wrap=True)
        return
    if done:
        per_day = 86.4 * done * dynamics.timestep / seconds / 1000
        screen.print(f"{done} steps, {1000 * seconds / done:.2f} ms a step ({per_day:.3g} ns/day), mean temperature "
                     f"{log['temperature_K'].mean():.0f} K")
    screen.print(f"conserved energy: largest change {abs(change).max():.3g} meV per atom")
    for key, count in (monitor.seen if monitor is not None else {}).items():
        screen.print(f"outside the training data: {key}, in {count} frames looked at", style="yellow")
    picture = draw_energies(recorder.files.log, recorder.files.picture, n_atoms=n_atoms,
                            title=f"{dynamics.structures[0].get_chemical_formula()}, {dynamics.ensemble.upper()}")
    screen.print("wrote " + ", ".join(map(str, [*written, picture])), soft_wrap=True)
