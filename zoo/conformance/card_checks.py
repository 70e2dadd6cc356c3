"""Card: weights, reference outputs and test errors agree with the card."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from zoo.cards import weights
from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject
from zoo.data.edges import with_edges
from zoo.data.of_card import CardData, open_for_card
from zoo.data.open import open_dataset
from zoo.data.splits import named_rows
from zoo.errors import DataError
from zoo.evaluation.evaluation import predict_rows
from zoo.evaluation.metrics import summarise
from zoo.loading.reference_outputs import reference_output_errors
from zoo.registry import host

__all__ = ["CHECKS", "exemptions"]

_UNTRAINED = "an architecture has no trained weights"
_SAMPLES = {"qm9": "qm9-sample", "qm9-sample": "qm9-sample"}
_BATCH = {"molecules": 50}
_STANDARD_ERRORS = 4.0


def complete(subject: Subject) -> Finding:
    if subject.trained is None:
        return not_applicable(_UNTRAINED)
    card = subject.card
    wanted = {"domain.elements": card.domain.elements, "domain.reach": card.domain.reach,
              "data.dataset, data.path or data.source": card.data.dataset or card.data.path or card.data.source,
              "license": card.license, "citation": card.citation or subject.architecture.citation}
    absent = [name for name, there in wanted.items() if not there]
    absent += [f"targets.{name}.unit" for name, target in card.targets.items() if not target.unit]
    return found(not absent, f"absent: {', '.join(absent)}" if absent else "")


def sha256(subject: Subject) -> Finding:
    if subject.trained is None:
        return not_applicable(_UNTRAINED)
    promised = subject.trained.promised
    weights.check_hash(subject.trained.weights, sha256=promised.sha256, size=promised.bytes)
    return found(True, promised.sha256[:12])


def reference_outputs(subject: Subject) -> Iterator[Finding]:
    if subject.trained is None:
        yield not_applicable(_UNTRAINED)
        return
    if not subject.card.golden:
        yield found(False, "the card has no reference outputs")
    for record in subject.card.golden:
        errors = reference_output_errors(subject.model, record)
        worst = max(errors, key=lambda name: errors[name][2] / errors[name][3])
        _, _, error, bound = errors[worst]
        yield below(error, bound, f"worst of {len(errors)} outputs: {worst}", dtype=record.dtype)


def metrics(subject: Subject) -> Iterator[Finding]:
    """Mean absolute errors on bundled test structures, compared with those in the card.

    The bound is four standard errors of the difference of two samples, since errors of molecules have long tails.
    """
    if subject.trained is None:
        yield not_applicable(_UNTRAINED)
        return
    sample = _sample(subject)
    if sample is None:
        yield not_applicable("no test structures of its data are bundled")
        return
    names = [name for name in (*subject.card.targets, *subject.card.derivatives) if name in sample.store.labels]
    results = predict_rows(subject.model, sample.store, sample.rows["test"], names, limits=_BATCH)
    again = {m["target"]: m for m in summarise(results, split="test", device="") if m["metric"] == "mae"}
    recorded = {m.target: m for m in subject.card.metrics if m.metric == "mae" and m.split == "test"}
    for name in names:
        if name not in recorded:
            yield found(False, "the card has no test error of this target", of=name)
            continue
        card, here = recorded[name], again[name]
        spread = math.hypot(*(_standard_error(i) for i in (card.interval, here["interval"])))
        yield below(abs(card.value - here["value"]), _STANDARD_ERRORS * spread,
                    f"card {card.value:.4g}, {here['n']} here {here['value']:.4g} {here['unit']}", of=name)


def _sample(subject: Subject) -> CardData | None:
    """The bundled sample with test structures of the card, found by data set name or by fingerprints of files."""
    card = subject.card
    if card.data.dataset is not None:
        name = _SAMPLES.get(card.data.dataset)
        if name is None or name not in host.datasets():
            return None
        store = with_edges(open_dataset(name), subject.model.cutoff)
        return CardData(store, {"test": named_rows(store, "test")}, name, own=True)
    for path in sorted(Path(str(files("zoo.data"))).glob("samples/*/frames.xyz")):
        try:
            found = open_for_card(card, cutoff=subject.model.cutoff, labels=[*card.targets, *card.derivatives],
                                  path=path, lenient=True)
        except DataError:  # these frames belong to another card and may lack a label
            continue
        if found.own and len(found.rows["test"]):
            return found
    return None


def exemptions(others: Iterable[str]) -> Check:
    """The check that a card declares exemptions only from checks that exist: ``others`` and this one."""
    known = {*others, "card.exemptions"}

    def measure(subject: Subject) -> Finding:
        unknown = [e.check for e in subject.card.exemptions if e.check not in known]
        detail = f"no checks: {', '.join(unknown)}" if unknown else f"{len(subject.card.exemptions)} declared"
        return found(not unknown, detail)

    return Check("card.exemptions", "exemptions name existing checks", measure)


def _standard_error(interval: list[float] | None) -> float:
    return 0.0 if interval is None else (interval[1] - interval[0]) / (2 * 1.96)


CHECKS = (
    Check("card.complete", "domain, units, data, licence and citation are given", complete),
    Check("card.sha256", "the weights have the size and sha256 given in the card", sha256),
    Check("card.golden", "the reference outputs in the card are reproduced", reference_outputs),
    Check("card.metrics", "the errors in the card are reproduced on a sample of the test set", metrics),
)
