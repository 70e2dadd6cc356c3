"""Expressivity: what the signature declares, against structures that a body order cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject
from zoo.lab.degeneracy import bond_angles
from zoo.lab.expressivity import SURE, expressivity
from zoo.lab.pairs import Pair, mirror_images, pairs, torsion

__all__ = ["CHECKS"]


def body_order(subject: Subject) -> Iterator[Finding]:
    """One layer tells apart what descriptors of lower body order do not, and is blind where all it starts from agrees.

    A layer of body order 2 starts from the distances of each atom's neighbours, one of order 3 from the angles that
    each bond makes with the others, one of order 4 from torsions too. Sums of these go through non-linear functions,
    which may see more than descriptors of that order: other pairs say nothing.
    """
    declared = subject.architecture.signature.get("body_order")
    if not isinstance(declared, int):
        yield not_applicable(f"the signature declares body order {declared!r}, not a number")
        return
    for pair in (p for p in pairs() if not p.mirror):
        must, blind = _must_see(pair, declared), _blind(pair, declared)
        if not must and not blind:
            yield not_applicable(f"body order {declared} says nothing about this pair", of=pair.name)
            continue
        verdict = expressivity([subject.architecture.name], chosen=[pair], layers=[1], seeds=2)[0]
        if blind:
            yield below(verdict.margin, SURE, "margin over noise; one layer must not tell the pair apart", of=pair.name)
        else:
            yield Finding(ok=verdict.distinguished, measured=verdict.margin, of=pair.name,
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


def _must_see(pair: Pair, declared: int) -> bool:
    if pair.name == torsion().name:
        return declared >= 4
    return pair.degenerate is not None and pair.degenerate < declared and bond_angles(pair.a) != bond_angles(pair.b)


def _blind(pair: Pair, declared: int) -> bool:
    if declared == 2:
        return pair.degenerate is not None
    return declared == 3 and bond_angles(pair.a) == bond_angles(pair.b)


CHECKS = (
    Check("expressivity.body-order", "one layer sees what the declared body order promises", body_order,
          of_design=True),
    Check("expressivity.parity", "even features do not tell mirror images apart", parity, of_design=True),
    Check("expressivity.lmax", "irreps_out stays within the declared degree", lmax),
)
