"""Expressivity: the declared signature, tested on structures that a given body order cannot distinguish."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.conformance.checks import Check, Finding, below, found, not_applicable
from zoo.conformance.subject import Subject
from zoo.lab.degeneracy import bond_angles
from zoo.lab.expressivity import SURE, expressivity
from zoo.lab.pairs import Pair, mirror_images, pairs, torsion

__all__ = ["CHECKS"]


def body_order(subject: Subject) -> Iterator[Finding]:
    """One layer distinguishes pairs that descriptors of lower body order do not, and no pair with equal inputs.

    The inputs of a layer of body order 2 are the distances of each atom's neighbours, those of order 3 also the angles
    of each bond with the others, those of order 4 also torsions. Sums of these pass through non-linear functions, which
    may distinguish more than descriptors of that order, so that other pairs do not test the claim.
    """
    declared = subject.architecture.signature.get("body_order")
    if not isinstance(declared, int):
        yield not_applicable(f"the signature declares body order {declared!r}, not a number")
        return
    for pair in (p for p in pairs() if not p.mirror):
        must, blind = _must_see(pair, declared), _blind(pair, declared)
        if not must and not blind:
            yield not_applicable(f"body order {declared} makes no claim about this pair", of=pair.name)
            continue
        verdict = expressivity([subject.architecture.name], chosen=[pair], layers=[1], seeds=2)[0]
        if blind:
            yield below(verdict.margin, SURE, "margin over noise; one layer must not distinguish the pair",
                        of=pair.name)
        else:
            yield Finding(ok=verdict.distinguished, measured=verdict.margin, of=pair.name,
                          detail=f"margin over noise; one layer must distinguish the pair (> {SURE:g})")


def parity(subject: Subject) -> Finding:
    """Features of an architecture with declared parity ``even`` do not distinguish mirror images."""
    declared = subject.signature.get("parity")
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
    Check("expressivity.body-order", "one layer distinguishes structures as the declared body order says", body_order,
          of_design=True),
    Check("expressivity.parity", "even features do not distinguish mirror images", parity, of_design=True),
    Check("expressivity.lmax", "irreps_out has no degree above the declared lmax", lmax),
)
