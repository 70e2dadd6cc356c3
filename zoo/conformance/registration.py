"""Registration: what the plugin's hook module does when it is imported, tested in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from zoo.cards.card import Card
from zoo.conformance.checks import Check, Finding, below, found
from zoo.conformance.subject import Subject
from zoo.registry import host

__all__ = ["CHECKS"]

IMPORT_SECONDS = 0.05

_TRIES = 3
_PROBE = """
import json, sys
from dataclasses import asdict
from zoo.registry import host
records = [asdict(r) for r in host.Host().plugins()]
heavy = [m for m in ("torch", "e3nn", "torch_geometric", "ase", "huggingface_hub") if m in sys.modules]
print("\\n" + json.dumps({"records": records, "heavy": heavy}))
"""


def loads(subject: Subject) -> Finding:
    """The entry point is found and loads without error; a name that another plugin also offers is an error."""
    error = _record(subject)["error"]
    return found(error is None, error or f"{subject.plugin.package}, entry point '{subject.plugin.name}'")


def torch_free(subject: Subject) -> Finding:
    messages = [w for w in _record(subject)["warnings"] if w.startswith("imports ")]
    return found(not messages, "; ".join(messages))


def quiet(subject: Subject) -> Finding:
    messages = [w for w in _record(subject)["warnings"] if w.startswith("prints ")]
    return found(not messages, "; ".join(messages))


def fast(subject: Subject) -> Finding:
    """The fastest of several processes, since the machine may be busy."""
    seconds = float("inf")
    for attempt in range(_TRIES):
        seconds = min(seconds, _record(subject, attempt)["seconds"])
        if seconds < IMPORT_SECONDS:
            break
    return below(seconds, IMPORT_SECONDS, "seconds")


def factory(subject: Subject) -> Finding:
    cls = host.factory(subject.architecture)
    backbone = subject.untrained().backbone
    lacking = [name for name in ("cutoff", "irreps_out") if not hasattr(backbone, name)]
    arch, taken = subject.architecture, host.parameters(subject.architecture)
    declared = [name for name in (arch.depth, arch.elements, *arch.cutoffs) if name is not None]
    unknown = [name for name in declared if name not in taken]
    lacks = f" lacks {', '.join(lacking)}" if lacking else ""
    lacks += f" takes no keyword {', '.join(unknown)}, which its Architecture declares" if unknown else ""
    return found(not lacks, f"{cls.__module__}:{cls.__qualname__}{lacks}")


def config(subject: Subject) -> Iterator[Finding]:
    """Keywords are equal after writing and reading JSON."""
    configs = {f"preset {name}": dict(preset) for name, preset in subject.architecture.presets.items()}
    for of, given in {**configs, "card": subject.card.config}.items():
        yield found(json.loads(json.dumps(given)) == given, of=of)


def card(subject: Subject) -> Finding:
    """A card that is written and read again is equal."""
    again = Card.from_text(subject.card.dump(), source=f"{subject.name}, written again")
    return found(again == subject.card)


def _record(subject: Subject, attempt: int = 0) -> dict[str, Any]:
    plugin = subject.plugin
    seen = _probe(tuple(sys.path), attempt)["records"]
    records = [r for r in seen if (r["name"], r["dist"]) == (plugin.name, plugin.dist)]
    if not records:
        raise LookupError(f"a new process finds no plugin '{plugin.name}' of {plugin.package}")
    return records[0]


@cache
def _probe(path: tuple[str, ...], attempt: int) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in path if p)}
    environment.pop("ZOO_STRICT_PLUGINS", None)
    done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, env=environment, check=True,
                          timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


CHECKS = (
    Check("registration.loads", "the plugin loads, and no other plugin offers its names", loads),
    Check("registration.torch-free", "the hook module imports no heavy package", torch_free),
    Check("registration.quiet", "the hook module prints nothing", quiet),
    Check("registration.fast", "the hook module is imported in less than 50 ms", fast),
    Check("registration.factory", "the backbone's class exists and has cutoff and irreps_out", factory),
    Check("registration.config", "keywords can be stored as JSON", config),
    Check("registration.card", "a card that is written and read again is equal", card),
)
