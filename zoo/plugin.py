"""What a plugin's hook module may import. Imports neither torch nor anything heavy.

A plugin is an installed package with an entry point in the group ``zoo`` that names a *hook module*::

    [project.entry-points.zoo]
    egnn = "zoo_egnn"

    # zoo_egnn/__init__.py
    from zoo.plugin import Architecture, hookimpl

    @hookimpl
    def zoo_architectures():
        return [Architecture(name="egnn", factory="zoo_egnn.model:EGNN", summary="E(n)-equivariant network")]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pluggy

from zoo.errors import ZooError

__all__ = ["Architecture", "DatasetSpec", "Importer", "TrainingPart", "ZooError", "hookimpl"]

hookimpl = pluggy.HookimplMarker("zoo")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A family of backbones, described without importing it.

    Attributes:
        name: registry key, lower-case, e.g. ``"painn"``.
        factory: ``"package.module:Class"`` of the backbone, imported when a model is made.
        summary: one line.
        format: version of the state dict; raise it whenever saved weights stop fitting.
        upgrade: ``"package.module:function"``, called as ``upgrade(state, from_format) -> state``.
        presets: named constructor keywords, such as ``{"paper": {...}, "small": {...}}``.
        readout: defaults of the paper's head, e.g. ``{"hidden": [64], "activation": "ssp", "bias": True}``.
        signature: what the conformance kit checks: ``{"body_order": 2, "parity": "even", "lmax": 0}``; ``smooth: 2``
            and ``export: True`` where second derivatives are continuous and ``torch.export`` works.
        depth: the constructor's keyword for the number of layers, e.g. ``"num_layers"``; ``None`` if there is none.
            Expressivity experiments vary it.
        elements: the keyword that takes the list of atomic numbers the backbone has weights for; it is set to the
            elements of the model's domain. ``None`` if the backbone takes any element.
        cutoffs: the keywords that are radii in Å. Experiments set all of them, and the conformance kit checks that
            energy and forces are continuous at each.
        inputs: optional graph fields that the backbone reads (``charge``, ``spin``, ``node_attrs``, …).
        citation: references of the paper(s), one string each.
    """

    name: str
    factory: str
    summary: str = ""
    format: int = 1
    upgrade: str | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    readout: Mapping[str, Any] = field(default_factory=dict)
    signature: Mapping[str, Any] = field(default_factory=dict)
    depth: str | None = None
    elements: str | None = None
    cutoffs: tuple[str, ...] = ("cutoff",)
    inputs: tuple[str, ...] = ()
    citation: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set that can be opened by name.

    Attributes:
        name: registry key, e.g. ``"qm9"``.
        factory: ``"package.module:function"``; called as ``function(path: Path | None) -> zoo.data.Store``.
        summary: one line.
        targets: unit of every property it holds.
        split: sha256 of the file that fixes the test set, where there is one.
        theory: level of theory of the labels.
        license: licence of the data.
        citation: references, one string each.
    """

    name: str
    factory: str
    summary: str = ""
    targets: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    theory: str = ""
    license: str = ""
    citation: tuple[str, ...] = ()


@dataclass(frozen=True)
class Importer:
    """A model class of another package whose weights can be turned into a model of the zoo.

    Attributes:
        factory: ``"package.module:function"``, called as ``function(state: ForeignState) -> Imported``, both of
            :mod:`zoo.foreign.state`.
        summary: whose weights these are.
        needs: configuration that the weights do not hold and the user has to give.
        tested: release of the other package whose outputs the tests compare with.
        read: ``"package.module:function"``, called as ``function(path) -> (tensors by name, configuration in the
            file)``; that of the default reads state dicts.
        choices: of the configuration that the user gives, what the factory itself uses up, such as which of several
            models in one file is wanted; the rest goes to the backbone.
    """

    factory: str
    summary: str
    needs: tuple[str, ...] = ()
    tested: str = ""
    read: str = "zoo.foreign.state:read"
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingPart:
    """A piece of a training run that a recipe can name instead of the zoo's own. Options stand in the recipe and become
    keywords of the factory.

    ==============  ==============================================  ===================================================
    kind            called as                                       in the recipe
    ==============  ==============================================  ===================================================
    ``loss``        ``f(residual) -> penalty``, same shape          ``losses: {U0: {kind: NAME, options: {…}}}``
    ``optimizer``   ``f(groups, lr=…) -> torch.optim.Optimizer``    ``optimizer: NAME``, ``optimizer_options: {…}``
    ``schedule``    ``f(progress, step) -> factor on the rate``     ``schedule: {kind: NAME, options: {…}}``
    ``transform``   ``f(graph, generator) -> graph``                ``transforms: [{kind: NAME, options: {…}}]``
    ``metric``      ``f(residual) -> values``, same shape           ``metrics: {close: {kind: NAME, of: U0}}``
    ``stopping``    ``f(history) -> bool``                          ``stopping: {kind: NAME, options: {…}}``
    ==============  ==============================================  ===================================================

    Residuals of a loss are standardised (forces and stress: eV/Å, eV/Å³), those of a metric in the target's unit. A
    schedule depends on its arguments alone, ``progress`` runs from 0 to 1; so a resumed run goes on exactly. A
    transform changes training batches (not their atoms, nor their labels) and draws from ``generator`` (of the CPU)
    only, which is seeded for every batch. ``history`` holds the metrics of every evaluation so far, oldest first.

    Attributes:
        kind, name: as above; a name is unique within its kind.
        factory: ``"package.module:function"``, or a class that is called the same way.
        summary: one line.
    """

    kind: Literal["loss", "optimizer", "schedule", "transform", "metric", "stopping"]
    name: str
    factory: str
    summary: str = ""
