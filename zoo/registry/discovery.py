"""Load one plugin: import its hook module, check its hooks and what they offer. Failures are recorded, not raised."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pluggy

from zoo.errors import did_you_mean
from zoo.plugin import Architecture, DatasetSpec, Importer, TrainingPart
from zoo.registry import hookspecs

__all__ = ["LoadedPlugin", "Offer", "PluginRecord", "load_plugin"]

SLOW_SECONDS = 0.2
HEAVY_MODULES = ("torch", "e3nn", "torch_geometric", "ase", "huggingface_hub")
HOOKS = tuple(hookspecs.__all__)
BUILTIN_READOUTS = ("atomic_scalar", "charges", "dipole", "energy", "intensive", "polarizability", "spatial_extent",
                    "tensor", "vector")
"""Keys of :data:`zoo.model.readout_kinds.READOUTS`, which needs torch."""
BUILTIN_SCHEMES = ("hf", "dir")
BUILTIN_IMPORTERS = ("pyg-schnet", "pyg-dimenet", "schnetpack-painn", "nequip", "fairchem-gemnet", "nequix", "sevennet")
"""Keys of :data:`zoo.foreign.IMPORTERS`, which is above this package."""
BUILTIN_PARTS: dict[str, tuple[str, ...]] = {
    "loss": ("l1", "l2", "huber"), "optimizer": ("adamw", "soap"), "schedule": ("cosine", "plateau", "constant"),
    "transform": (), "metric": (), "stopping": ()}
"""Parts of training that the zoo has itself, by kind."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.+-]*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class PluginRecord:
    """Information about one plugin.

    Attributes:
        name: of the entry point.
        dist, version: its distribution.
        module: the entry point's value.
        hooks: hooks it implements.
        offers: names it offers, by kind.
        error: why all or part of it cannot be used; may have several lines.
        warnings: things that a hook module should not do.
        seconds: time to import it and to call its hooks.
    """

    name: str
    dist: str = ""
    version: str = ""
    module: str = ""
    hooks: tuple[str, ...] = ()
    offers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    error: str | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def package(self) -> str:
        """``"zoo-egnn 0.1"``."""
        return f"{self.dist} {self.version}".strip() or "unknown package"

    @property
    def builtin(self) -> bool:
        return self.dist == "geometric-zoo"

    def with_error(self, message: str) -> PluginRecord:
        return replace(self, error=message if self.error is None else f"{self.error}\n{message}")


@dataclass(frozen=True)
class Offer:
    """An architecture, data set or the like, and the plugin that offers it."""

    name: str
    value: Any
    plugin: PluginRecord


@dataclass
class LoadedPlugin:
    """A plugin after loading: its record and its usable offers."""

    record: PluginRecord
    offers: dict[str, list[Offer]] = field(default_factory=dict)
    registries: list[Path] = field(default_factory=list)
    manager: pluggy.PluginManager | None = None

    def emit(self, event: str, state: Mapping[str, Any]) -> None:
        """Call this plugin's ``zoo_train_event``, if it has one."""
        if self.manager is not None:
            self.manager.hook.zoo_train_event(event=event, state=state)


class _Rejected(Exception):
    """The result of a hook violates its contract."""


def load_plugin(point: EntryPoint, *, strict: bool = False) -> LoadedPlugin:
    """Import and register one plugin, and call its hooks.

    Every exception but ``KeyboardInterrupt`` is put into the record; with ``strict`` it is raised instead.
    """
    dist = point.dist
    record = PluginRecord(name=point.name, module=point.value, dist=dist.name if dist else "",
                          version=dist.version if dist else "")
    loaded = LoadedPlugin(record)
    errors: list[str] = []
    values: dict[str, Any] = {}

    def attempt(step: Callable[..., list[str]], *args: Any) -> None:
        try:
            errors.extend(step(*args))
        except (Exception, SystemExit) as error:
            if strict:
                error.add_note(f"raised by the zoo plugin '{record.name}' ({record.package})")
                raise
            errors.append(_describe(error))

    heavy_before = _heavy()
    start = time.perf_counter()
    with _quiet() as printed:
        attempt(_register, point, loaded)
        for kind in _CHECKS if loaded.manager is not None else ():
            attempt(_question, loaded, kind, values)
    seconds = time.perf_counter() - start
    hooks = () if loaded.manager is None else tuple(h for h in HOOKS if getattr(loaded.manager.hook, h).get_hookimpls())
    loaded.record = replace(
        loaded.record, hooks=hooks, error="\n".join(errors) or None, seconds=seconds,
        warnings=tuple(_warn(_heavy() - heavy_before, printed.getvalue(), seconds, hooks, failed=bool(errors))),
        offers={kind: tuple(value) for kind, value in values.items()},
    )
    loaded.registries = list(values.pop("registries", {}).values())
    loaded.offers = {kind: [Offer(name, value, loaded.record) for name, value in found.items()]
                     for kind, found in values.items()}
    return loaded


def _register(point: EntryPoint, loaded: LoadedPlugin) -> list[str]:
    """Import the hook module and register it with its own plugin manager."""
    module = point.load()
    # One manager per plugin: a failed registration has no side effects, and the source of every result is known.
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=point.name)
    known = set(HOOKS)
    implemented = {caller.name for caller in manager.get_hookcallers(module) or ()
                   if not all(implementation.optionalhook for implementation in caller.get_hookimpls())}
    errors = [f"unknown hook '{name}'{did_you_mean(name, known)}" for name in sorted(implemented - known)]
    for name in sorted(known - implemented):
        if callable(getattr(module, name, None)):
            errors.append(f"function '{name}' lacks the decorator @hookimpl (from zoo.plugin import hookimpl)")
    loaded.manager = manager
    return errors


def _question(loaded: LoadedPlugin, kind: str, values: dict[str, Any]) -> list[str]:
    """Call one hook and keep its valid results; returns the problems of the others."""
    assert loaded.manager is not None
    caller = getattr(loaded.manager.hook, f"zoo_{kind}")
    answers = caller()
    # pluggy leaves out None, the result of a function without `return`.
    errors = [f"hook zoo_{kind} returned nothing"] if caller.get_hookimpls() and not answers else []
    for answer in answers:
        try:
            values[kind] = _CHECKS[kind](answer)
        except _Rejected as error:
            errors.append(f"hook zoo_{kind} {error}")
    return errors


# -- checks of answers ------------------------------------------------------------------------------------------


def _items(answer: Any) -> Sequence[Any]:
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Sequence):
        raise _Rejected(f"returned {type(answer).__name__}, expected a list")
    return answer


def _described(answer: Any, kind: type[Architecture] | type[DatasetSpec]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in _items(answer):
        if not isinstance(item, kind):
            raise _Rejected(f"returned a list with {type(item).__name__}, expected zoo.plugin.{kind.__name__}")
        _check_name(item.name)
        _check_reference(item.name, item.factory)
        if item.name in found:
            raise _Rejected(f"offers '{item.name}' twice")
        found[item.name] = item
    return found


def _references(answer: Any, taken: Sequence[str]) -> dict[str, str]:
    if not isinstance(answer, Mapping):
        raise _Rejected(f"returned {type(answer).__name__}, expected a mapping of names to 'package.module:attribute'")
    for name, reference in answer.items():
        _check_name(name)
        _check_reference(name, reference)
        if name in taken:
            raise _Rejected(f"offers '{name}', which the zoo has itself: choose another name")
    return dict(answer)


def _importers(answer: Any) -> dict[str, Importer]:
    if not isinstance(answer, Mapping):
        raise _Rejected(f"returned {type(answer).__name__}, expected a mapping of names to zoo.plugin.Importer")
    for name, item in answer.items():
        if not isinstance(item, Importer):
            raise _Rejected(f"offers '{name}' as {type(item).__name__}, expected zoo.plugin.Importer")
    _references({name: item.factory for name, item in answer.items()}, BUILTIN_IMPORTERS)
    return dict(answer)


def _parts(answer: Any) -> dict[str, TrainingPart]:
    found: dict[str, TrainingPart] = {}
    for item in _items(answer):
        if not isinstance(item, TrainingPart):
            raise _Rejected(f"returned a list with {type(item).__name__}, expected zoo.plugin.TrainingPart")
        if item.kind not in BUILTIN_PARTS:
            raise _Rejected(f"offers '{item.name}' of the kind {item.kind!r}: kinds are {', '.join(BUILTIN_PARTS)}")
        _references({item.name: item.factory}, BUILTIN_PARTS[item.kind])
        name = f"{item.kind} {item.name}"
        if name in found:
            raise _Rejected(f"offers the {name} twice")
        found[name] = item
    return found


def _paths(answer: Any) -> dict[str, Path]:
    paths = {}
    for item in _items(answer):
        if not isinstance(item, (str, Path)):
            raise _Rejected(f"returned a list with {type(item).__name__}, expected paths")
        path = Path(item)
        if not path.is_file():
            raise _Rejected(f"names '{path}', which is no file: is it left out of the package?")
        paths[str(path)] = path
    return paths


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Rejected(f"offers the name {name!r}: names are lower-case letters, digits and - _ . +")


def _check_reference(name: str, reference: Any) -> None:
    if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
        raise _Rejected(f"offers '{name}' as {reference!r}: expected 'package.module:attribute'")


_CHECKS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "architectures": lambda answer: _described(answer, Architecture),
    "datasets": lambda answer: _described(answer, DatasetSpec),
    "readouts": lambda answer: _references(answer, BUILTIN_READOUTS),
    "fetchers": lambda answer: _references(answer, BUILTIN_SCHEMES),
    "importers": _importers,
    "training": _parts,
    "registries": _paths,
}
"""Required result of each hook that offers something, by its name without ``zoo_``."""


# -- observation ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Keep what a plugin prints away from the output of commands such as ``zoo list --json``."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


def _heavy() -> set[str]:
    return {name for name in HEAVY_MODULES if name in sys.modules}


def _warn(heavy: set[str], printed: str, seconds: float, hooks: Sequence[str], *, failed: bool) -> Iterator[str]:
    if heavy:
        yield f"imports {', '.join(sorted(heavy))}: move that into the module that the factory names"
    if printed.strip():
        yield f"prints when imported: {printed.strip().splitlines()[0][:80]!r}"
    if seconds > SLOW_SECONDS:
        yield f"takes {seconds:.2f} s to import, more than {SLOW_SECONDS} s"
    if not hooks and not failed:
        yield "implements no hook"


def _describe(error: BaseException) -> str:
    """``"ImportError: no module named 'foo' (zoo_egnn/__init__.py:3)"``, with the innermost line that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        place = f" ({path.parent.name}/{path.name}:{trace.tb_lineno})"
    text = str(error) or "no message"
    return f"{type(error).__name__}: {text}{place}"
