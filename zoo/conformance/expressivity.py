"""Expressivity: what the signature declares, against structures that a body order cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject
from zoo.lab.expressivity import SURE, expressivity
from zoo.lab.pairs import Pair, mirror_images, pairs

__all__ = ["CHECKS"]


def body_order(subject: Subject) -> Iterator[Finding]:
    """One layer of an architecture of body order b tells apart what descriptors of order b − 1 do not, and no more."""
    declared = subject.architecture.signature.get("body_order")
    if not isinstance(declared, int):
        yield not_applicable(f"the signature declares body order {declared!r}, not a number")
        return
    chosen = [p for p in pairs() if p.degenerate is not None and not p.mirror]
    for pair in chosen:
        verdict = expressivity([subject.architecture.name], chosen=[pair], layers=[1], seeds=2)[0]
        if declared <= _degenerate(pair):
            yield below(verdict.margin, SURE, "margin over noise; one layer must not tell the pair apart", of=pair.name)
        else:
            yield Finding(ok=verdict.told_apart, measured=verdict.margin, of=pair.name,
                          detail=f"margin over noise; one layer must tell the pair apart (> {SURE:g})")


def parity(subject: Subject) -> Finding:
    """Features of an architecture that calls its parity even do not tell mirror images apart."""
    declared = subject.architecture.signature.get("parity")
    if declared != "even":
        return not_applicable(f"the signature declares parity {declared!r}")
    verdict = expressivity([subject.architecture.name], chosen=[mirror_images()], layers=[2], seeds=2)[0]
    return below(verdict.margin, SURE, "margin over noise between mirror images")


def lmax(subject: Subject) -> Finding:
    declared = subject.architecture.signature.get("lmax")
    highest = max(term.l for term in subject.model.layout.terms)
    if not isinstance(declared, int):
        return not_applicable(f"the signature declares lmax {declared!r}", measured=highest)
    return found(highest <= declared, f"irreps_out reaches l = {highest}, declared {declared}")


def _degenerate(pair: Pair) -> int:
    return pair.degenerate if pair.degenerate is not None else 0


CHECKS = (
    Check("expressivity.body-order", "one layer sees the declared body order, and no more", body_order),
    Check("expressivity.parity", "even features do not tell mirror images apart", parity),
    Check("expressivity.lmax", "irreps_out stays within the declared degree", lmax),
)
