"""The plugin host: finds plugins through the entry-point group ``zoo``, isolates each, and reports on them.

A plugin that fails in any way becomes a :class:`PluginRecord` with its error; its valid offers stay usable, and other
plugins are not affected. Two environment variables: ``ZOO_PLUGINS=a,b`` loads only the plugins named (by entry point
or distribution; empty for none), ``ZOO_STRICT_PLUGINS=1`` raises what a plugin raised.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zoo.errors import PluginError, UnknownNameError, ZooError, did_you_mean, nearest, shortened
from zoo.plugin import Architecture, DatasetSpec, Importer, TrainingPart
from zoo.registry.config_values import check_config
from zoo.registry.discovery import LoadedPlugin, Offer, PluginRecord, load_plugin

__all__ = [
    "Host", "PluginRecord", "architecture", "architectures", "backbone", "current", "dataset", "datasets", "emit",
    "factory", "fetchers", "importers", "plugins", "provider", "readouts", "registries", "resolve", "training_part",
    "training_parts",
]

GROUP = "zoo"

_NOUNS = {"architectures": "architecture", "datasets": "data set", "readouts": "readout", "fetchers": "fetcher",
          "importers": "importer", "training": "part of training"}


class Host:
    """The plugins of one set of entry points and what they offer.

    Args:
        found: entry points; by default those installed in the group ``zoo``.
        environ: variables ``ZOO_PLUGINS`` and ``ZOO_STRICT_PLUGINS``; ``os.environ`` by default.
    """

    def __init__(self, found: Iterable[EntryPoint] | None = None, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        wanted = environ.get("ZOO_PLUGINS")
        self.strict = environ.get("ZOO_STRICT_PLUGINS", "") not in ("", "0")
        chosen, self.switched_off, unknown = _choose(found, wanted)
        self._loaded: list[LoadedPlugin] = [load_plugin(point, strict=self.strict) for point in chosen]
        self._missing = [
            PluginRecord(name=name, error="named in ZOO_PLUGINS but not installed" +
                         did_you_mean(name, [*self.switched_off, *(p.name for p in chosen)]))
            for name in unknown
        ]
        self._offers: dict[str, dict[str, list[Offer]]] = {kind: {} for kind in _NOUNS}
        for loaded in self._loaded:
            for kind, offers in loaded.offers.items():
                for offer in offers:
                    self._offers[kind].setdefault(offer.name, []).append(offer)

    # -- what there is ------------------------------------------------------------------------------------------

    def plugins(self) -> list[PluginRecord]:
        """One record per plugin, with failures and name collisions, sorted by name."""
        records = [loaded.record for loaded in self._loaded]
        for kind, names in self._offers.items():
            for name, offers in names.items():
                if len(offers) > 1:
                    message = _collision(kind, name, offers)
                    guilty = {offer.plugin.name for offer in offers}
                    records = [r.with_error(message) if r.name in guilty else r for r in records]
        return sorted(records + self._missing, key=lambda r: (r.name, r.dist))

    def offers(self, kind: str) -> dict[str, Any]:
        """Offers of a ``kind``, by name; a name that two plugins offer is left out."""
        return {name: offers[0].value for name, offers in sorted(self._offers[kind].items()) if len(offers) == 1}

    def offer(self, kind: str, name: str, *, package: str | None = None) -> Offer:
        """The one offer of this name.

        Raises:
            UnknownNameError: nothing offers it; the error suggests similar names, and a package to install.
            PluginError: two plugins offer it.
        """
        offers = self._offers[kind].get(name, [])
        if len(offers) > 1:
            raise PluginError(_collision(kind, name, offers))
        if not offers:
            raise UnknownNameError(self._unknown(kind, name, package))
        return offers[0]

    def training_part(self, kind: str, name: str) -> tuple[str, PluginRecord]:
        """What a recipe names, as ``"package.module:attribute"``, and the plugin it comes from.

        Args:
            name: of a :class:`zoo.plugin.TrainingPart`, or ``"package.module:attribute"`` in the package of a plugin.

        Raises:
            UnknownNameError: no plugin offers it, or the module belongs to no plugin.
            PluginError: two plugins offer it.
        """
        if ":" not in name:
            offer = self.offer("training", f"{kind} {name}")
            return offer.value.factory, offer.plugin
        package = name.partition(":")[0].partition(".")[0]
        for loaded in self._loaded:
            # A card must not run what merely happens to be importable.
            if loaded.manager is not None and loaded.record.module.partition(":")[0].partition(".")[0] == package:
                return name, loaded.record
        raise UnknownNameError(f"'{name}' is in no installed plugin, and a recipe runs code of plugins only. "
                               f"Fix: install the plugin that holds '{package}', or give it an entry point 'zoo'.")

    def registries(self) -> list[tuple[Path, PluginRecord]]:
        """Registry files in the order of the plugins, the zoo's own first."""
        found = [(path, loaded.record) for loaded in self._loaded for path in loaded.registries]
        return sorted(found, key=lambda pair: not pair[1].builtin)

    # -- use ----------------------------------------------------------------------------------------------------

    def factory(self, arch: Architecture | str) -> type:
        """The backbone's class, imported now.

        Raises:
            PluginError: the module cannot be imported or holds no such class.
        """
        name = arch if isinstance(arch, str) else arch.name
        offer = self.offer("architectures", name)
        cls = resolve(offer.value.factory, f"architecture '{name}' of {offer.plugin.package}")
        if not inspect.isclass(cls):
            raise PluginError(f"architecture '{name}' of {offer.plugin.package}: factory '{offer.value.factory}' is "
                              f"no class but {type(cls).__name__}. Fix: name the class of the backbone.")
        return cls

    def backbone(self, arch: Architecture | str, config: Mapping[str, Any],
                 where: Callable[[str], str] | None = None) -> Any:
        """Build a backbone from a card's ``config``.

        Args:
            where: gives the place of a key of ``config`` for errors, such as ``"card.yaml:12: config.cuttof"``.

        Raises:
            PluginError: the class cannot be imported.
            ZooError: a keyword the constructor does not take (with the nearest), a required one that is absent, a value
                of another type or range (:mod:`zoo.registry.config_values`), or one that the constructor refuses.
        """
        name = arch if isinstance(arch, str) else arch.name
        cls = self.factory(name)
        place = where or (lambda key: f"config of '{name}'")
        parameters = inspect.signature(cls).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            for key in config:
                if key not in parameters:
                    raise ZooError(f"{place(key)}: '{name}' takes no keyword '{key}'"
                                   f"{did_you_mean(key, parameters)} Fix: use one of {', '.join(parameters)}.")
        required = [n for n, p in parameters.items() if p.default is p.empty and p.kind in
                    (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and n not in config]
        if required:
            raise ZooError(f"{place(required[0])}: is missing; '{name}' cannot be made without {', '.join(required)}. "
                           "Fix: add it.")
        check_config(name, config, cls, self.offer("architectures", name).value.cutoffs, place)
        section = place(next(iter(config), ""))
        try:
            made = cls(**config)
        except ZooError as error:
            # The constructor knows no file and line.
            raise (ZooError(f"{section}: {error}") if type(error) is ZooError else error) from error
        except Exception as error:  # whatever a backbone's own code makes of values that its signature allows
            raise PluginError(f"{section}: '{name}' cannot be made with {shortened(dict(config))}: "
                              f"{type(error).__name__}: {error}. Fix: correct the config, or the backbone.") from error
        cutoff = getattr(made, "cutoff", 1.0)
        if not 0 < float(cutoff) < math.inf:
            raise ZooError(f"{place('cutoff')}: '{name}' has the cut-off {float(cutoff)} Å with this config. "
                           "Fix: write a radius above 0.")
        return made

    def emit(self, event: str, state: Mapping[str, Any]) -> None:
        """Call every listener; one that fails is reported as a warning, and the others are still called."""
        for loaded in self._loaded:
            try:
                loaded.emit(event, state)
            except Exception as error:
                if self.strict:
                    raise
                warnings.warn(f"listener of {loaded.record.package} failed at '{event}': "
                              f"{type(error).__name__}: {error}", RuntimeWarning, stacklevel=2)

    # -- words --------------------------------------------------------------------------------------------------

    def _unknown(self, kind: str, name: str, package: str | None) -> str:
        known = self._offers[kind]
        lines = [f"unknown {_NOUNS[kind]} '{name}'{did_you_mean(name, known, n=3)}"]
        lines.append(f"  installed: {', '.join(sorted(known)) or 'none'}")
        for record in self.plugins():
            if record.error and nearest(name, [record.name, record.dist.removeprefix("zoo-")]):
                lines.append(f"  plugin '{record.name}' ({record.package}) is there but failed: {record.error}")
        for hidden in nearest(name, self.switched_off):
            lines.append(f"  plugin '{hidden}' is installed but switched off by ZOO_PLUGINS")
        if package and not any(r.dist == package for r in self.plugins()):
            lines.append(f"  it comes with the package '{package}': pip install {package}")
        return "\n".join(lines)


def resolve(reference: str, what: str) -> Any:
    """Import ``"package.module:attribute"``; ``what`` describes it in errors.

    Raises:
        PluginError: malformed, not importable (any failure of the module, ``SystemExit`` included), or no such name.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute):
        raise PluginError(f"{what}: '{reference}' is not of the form 'package.module:attribute'. "
                          "Fix: correct it in the plugin.")
    try:
        value = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except ZooError:
        raise
    except ModuleNotFoundError as error:
        raise PluginError(f"{what}: cannot import '{reference}': no module named '{error.name}'. "
                              "Fix: install it, or correct the reference in the plugin.") from error
    except AttributeError as error:
        known = [n for n in vars(value) if not n.startswith("_")] if inspect.ismodule(value) else []
        raise PluginError(f"{what}: cannot import '{reference}': {error}{did_you_mean(attribute, known)} "
                              "Fix: correct the reference in the plugin.") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what}: cannot import '{reference}': {type(error).__name__}: {error}") from error
    return value


def _choose(found: Iterable[EntryPoint] | None, wanted: str | None) -> tuple[list[EntryPoint], list[str], list[str]]:
    """Entry points to load, names that ``ZOO_PLUGINS`` leaves out, and names in it that match no plugin."""
    points = sorted(entry_points(group=GROUP) if found is None else found, key=lambda p: p.name)
    if wanted is None:
        return points, [], []
    names = {part.strip() for part in wanted.split(",")} - {""}
    bears = {point: {point.name} | ({point.dist.name} if point.dist else set()) for point in points}
    chosen = [point for point in points if bears[point] & names]
    off = [point.name for point in points if point not in chosen]
    return chosen, off, sorted(names - set().union(*bears.values(), set()))


def _collision(kind: str, name: str, offers: list[Offer]) -> str:
    packages = " and ".join(f"'{o.plugin.name}' ({o.plugin.package})" for o in offers)
    return (f"{_NOUNS[kind]} '{name}' is offered by two plugins, {packages}: uninstall one, or name the plugins to "
            f"load in ZOO_PLUGINS")


@cache
def current() -> Host:
    """The host of the installed plugins, made once; ``current.cache_clear()`` after installing one."""
    return Host()


def plugins() -> list[PluginRecord]:
    """See :meth:`Host.plugins`."""
    return current().plugins()


def architectures() -> dict[str, Architecture]:
    """Architectures by name; one that two plugins offer is left out."""
    return current().offers("architectures")


def architecture(name: str, *, package: str | None = None) -> Architecture:
    """The architecture of this name; ``package`` is the plugin that a card requires. Raises as :meth:`Host.offer`."""
    return current().offer("architectures", name, package=package).value


def provider(name: str, kind: str = "architectures") -> PluginRecord:
    """The plugin that offers a name. Raises as :meth:`Host.offer`."""
    return current().offer(kind, name).plugin


def datasets() -> dict[str, DatasetSpec]:
    """Data sets by name."""
    return current().offers("datasets")


def dataset(name: str) -> DatasetSpec:
    """The data set of this name. Raises as :meth:`Host.offer`."""
    return current().offer("datasets", name).value


def readouts() -> dict[str, str]:
    """Readout kinds of plugins, ``{kind: "package.module:Class"}``."""
    return current().offers("readouts")


def fetchers() -> dict[str, str]:
    """Fetchers of plugins, ``{scheme: "package.module:function"}``."""
    return current().offers("fetchers")


def importers() -> dict[str, Importer]:
    """Importers of plugins, by name."""
    return current().offers("importers")


def training_parts() -> dict[str, TrainingPart]:
    """Parts of training of plugins, by ``"kind name"``."""
    return current().offers("training")


def training_part(kind: str, name: str) -> tuple[str, PluginRecord]:
    """See :meth:`Host.training_part`."""
    return current().training_part(kind, name)


def registries() -> list[tuple[Path, PluginRecord]]:
    """See :meth:`Host.registries`."""
    return current().registries()


def factory(arch: Architecture | str) -> type:
    """See :meth:`Host.factory`."""
    return current().factory(arch)


def parameters(arch: Architecture | str) -> Mapping[str, inspect.Parameter]:
    """Keywords of an architecture's constructor. Raises as :meth:`Host.factory`."""
    return inspect.signature(factory(arch)).parameters


def defaults(arch: Architecture | str) -> dict[str, Any]:
    """The default of every keyword that has one. Raises as :meth:`Host.factory`."""
    return {name: p.default for name, p in parameters(arch).items() if p.default is not p.empty}


def backbone(arch: Architecture | str, config: Mapping[str, Any], where: Callable[[str], str] | None = None) -> Any:
    """See :meth:`Host.backbone`."""
    return current().backbone(arch, config, where)


def emit(event: str, state: Mapping[str, Any]) -> None:
    """See :meth:`Host.emit`."""
    current().emit(event, state)
