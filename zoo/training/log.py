"""Reports of a run: JSON lines, a progress bar with the time left, TensorBoard, and events for plugins.

It does not use :mod:`zoo.process.progress`: its bar shows a fraction, since a run may be limited by hours; the time
left comes from the run's clock, which includes evaluations and earlier parts of a resumed run; and lines are printed
above the bar.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.files.atomic_writes import write_text
from zoo.registry.host import emit

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Log"]


class Log:
    """Writes ``metrics.jsonl`` in the run's folder and messages on the screen; silent on ranks other than the first.

    Args:
        folder: of the run.
        active: false on ranks that do not write.
        resumed_step: lines of later steps, left by a run that was killed, are removed; ``None`` for a new file.
        units: unit of each target, for the screen.
    """

    def __init__(self, folder: Path, *, active: bool, resumed_step: int | None = None,
                 units: Mapping[str, str] | None = None, quiet: bool = False) -> None:
        self.active = active
        self.units = dict(units or {})
        self._quiet = quiet or not active
        self._bar: Progress | None = None
        self._board: Any = None
        if not active:
            return
        self._path = folder / "metrics.jsonl"
        if resumed_step is not None:
            _drop_after(self._path, resumed_step)
        self._file = self._path.open("w" if resumed_step is None else "a", encoding="utf-8")
        self._board = _tensorboard(folder)

    # -- records -----------------------------------------------------------------------------------------------

    def record(self, event: str, **values: Any) -> None:
        """One line of JSON, TensorBoard scalars and the hook ``zoo_train_event``.

        ``processor`` is the processor time of this process, all threads, in s; only differences are meaningful.
        """
        if not self.active:
            return
        line = {"event": event, **values, "time": round(time.time(), 1), "processor": round(time.process_time(), 3)}
        self._file.write(json.dumps(line, default=float) + "\n")
        self._file.flush()
        if self._board is not None and "step" in values:
            for name, value in values.items():
                if name != "step" and isinstance(value, (int, float)):
                    self._board.add_scalar(f"{event}/{name}", value, values["step"])
        emit(event, line)

    def message(self, text: str) -> None:
        """Print one line, above the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def evaluation(self, step: int, metrics: Mapping[str, float], *, better: bool) -> None:
        """The validation metrics on one line, in physical units."""
        parts = [f"{name.removesuffix('.mae')} {_show(value, self.units.get(name.removesuffix('.mae'), ''))}"
                 for name, value in metrics.items() if name.endswith(".mae")]
        mark = " *" if better else ""
        self.message(f"step {step:>7,}  val loss {metrics['loss']:.4f}{mark}  MAE: {', '.join(parts)}")

    # -- progress ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        if self._quiet or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f}%"),
                             TextColumn("{task.fields[detail]}"), console=Console(stderr=True))
        self._task = self._bar.add_task("training", total=1.0, detail="")
        self._bar.start()

    def progress(self, fraction: float, *, step: int, loss: float, rate: float, remaining: float | None) -> None:
        """Move the bar: fraction done, molecules a second, seconds left."""
        if self._bar is not None:
            eta = "" if remaining is None else f"  {_duration(remaining)} left"
            self._bar.update(self._task, completed=fraction,
                             detail=f"step {step:,}  loss {loss:.4f}  {rate:,.0f}/s{eta}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self.active:
            self.active = False
            self._file.close()
            if self._board is not None:
                self._board.close()


def _show(value: float, unit: str) -> str:
    """A value with its unit; energies in meV."""
    if unit.startswith("eV"):
        return f"{1000 * value:.1f} m{unit}"
    return f"{value:.4g} {unit}".rstrip()


def _duration(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


def _drop_after(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the last line of a killed run may be half a line
            continue
        if line.get("step", 0) <= step:
            kept.append(text)
    write_text(path, "".join(line + "\n" for line in kept))


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
