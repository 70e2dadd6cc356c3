"""The authoring interface does not change unnoticed: a change needs a line in the changelog."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from pathlib import Path

from zoo import plugin
from zoo.registry import hookspecs

ROOT = Path(__file__).resolve().parents[1]


def surface() -> str:
    """Every name, field and signature that a hook module can rely on."""
    lines = [f"zoo.plugin: {', '.join(sorted(plugin.__all__))}"]
    for described in (plugin.Architecture, plugin.DatasetSpec, plugin.Importer, plugin.TrainingPart):
        lines += [f"{described.__name__}.{f.name}: {f.type}" for f in dataclasses.fields(described)]
    lines += [f"{name}{inspect.signature(getattr(hookspecs, name))}" for name in sorted(hookspecs.__all__)]
    return "\n".join(lines)


def test_the_changelog_knows_this_authoring_interface():
    mark = hashlib.sha256(surface().encode()).hexdigest()[:8]
    assert f"authoring interface {mark}" in (ROOT / "CHANGELOG.md").read_text(), (
        f"the authoring interface has changed: say in CHANGELOG.md what changes for authors of plugins, and mark the "
        f"entry 'authoring interface {mark}'.\n{surface()}")


def test_a_changed_field_changes_the_mark():
    before = surface()
    wider = dataclasses.make_dataclass("Architecture", [*((f.name, f.type) for f in dataclasses.fields(
        plugin.Architecture)), ("extra", "int")])
    kept, plugin.Architecture = plugin.Architecture, wider
    try:
        assert surface() != before
    finally:
        plugin.Architecture = kept
