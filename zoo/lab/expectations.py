"""Which pairs each family should distinguish according to theory, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["EXPECTED", "Expectation", "expectation"]


@dataclass(frozen=True)
class Expectation:
    """The theoretical result for a family and a pair.

    Attributes:
        layers: the smallest number of layers that distinguishes the pair; ``None`` for never.
        reason: the reason in words.
        textbook: the result of the usual rule if it differs: a network of body order ν fails on pairs that ν-body
            descriptors do not distinguish, and a k-chain takes ⌊k/2⌋ + 1 layers.
    """

    layers: int | None
    reason: str
    textbook: int | Literal["same", "never"] = "same"


_SEES_DISTANCES = "reads distances along bonds, which are the same; no depth changes that"
_SAME_AT_EVERY_BOND = "every bond makes the same angles with the bonds it meets, so no message differs at any depth"
_NO_MIRROR = "its scalars are made of distances, angles and cosines: even under reflection"
_ANGLES_AT_ONCE = "angles between bonds enter the first messages"
_EACH_BOND = "the angles are the same as one list for the centre, but not bond by bond: messages outward differ"

EXPECTED: dict[tuple[str, str], Expectation] = {
    ("schnet", "distances"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "angles"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "lines"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "torsion"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "tetrahedra"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "chirality"): Expectation(None, _NO_MIRROR),
    ("dimenet", "distances"): Expectation(1, _ANGLES_AT_ONCE),
    ("dimenet", "angles"): Expectation(1, _EACH_BOND, "never"),
    ("dimenet", "lines"): Expectation(None, _SAME_AT_EVERY_BOND),
    ("dimenet", "torsion"): Expectation(None, _SAME_AT_EVERY_BOND),
    ("dimenet", "tetrahedra"): Expectation(1, _EACH_BOND, "never"),
    ("dimenet", "chirality"): Expectation(None, _NO_MIRROR),
    ("gemnet", "distances"): Expectation(1, _ANGLES_AT_ONCE),
    ("gemnet", "angles"): Expectation(1, _EACH_BOND),
    ("gemnet", "lines"): Expectation(
        None, _SAME_AT_EVERY_BOND + "; a star has no torsions, since its outer atoms have one bond each", 1),
    ("gemnet", "torsion"): Expectation(1, "the dihedral enters the first messages between quadruplets"),
    ("gemnet", "tetrahedra"): Expectation(1, _EACH_BOND, "never"),
    ("gemnet", "chirality"): Expectation(None, _NO_MIRROR + " (a dihedral enters by its cosine)"),
    ("painn", "distances"): Expectation(1, "the norm of the summed bond vectors holds their angle"),
    ("painn", "angles"): Expectation(
        2, "the norm of the summed bond vectors is the same; sent back, the sum is projected on each bond"),
    ("painn", "lines"): Expectation(None, "the inversion maps each star onto itself: no vector at the centre, ever"),
    ("painn", "torsion"): Expectation(
        2, "the directions of the outer bonds meet after two layers, and ⟨Uv, Vv⟩ multiplies them"),
    ("painn", "tetrahedra"): Expectation(
        2, "the sum of bond vectors, sent back and projected on each bond, gives different lists"),
    ("painn", "chirality"): Expectation(
        None, "⟨Uv, Vv⟩ and ‖Vv‖ are even under reflection, and there is no cross product"),
    ("nequip", "distances"): Expectation(
        2, "scalars after one layer are sums over distances; the second contracts summed directions with each bond"),
    ("nequip", "angles"): Expectation(2, "sums of harmonics at the centre are contracted with each bond, which differ"),
    ("nequip", "lines"): Expectation(
        4, "the first invariant that differs is x̂ᵢ·T²x̂ᵢ with T = Σ x̂x̂ᵀ, l = 2: centre, outward, centre, outward"),
    ("nequip", "torsion"): Expectation(
        3, "the direction of one outer bond travels two bonds, and the third layer contracts it with the other"),
    ("nequip", "tetrahedra"): Expectation(
        2, "sums of harmonics at the centre are contracted with each bond, which differ"),
    ("nequip", "chirality"): Expectation(
        4, "a 0o needs three different directions at the centre, of which the layers can bring together one by one"),
    # k-chains. Theory for a layer that multiplies all features of an atom: ⌊k/2⌋ + 1 (Joshi et al.).
    **{("schnet", f"{k}-chain"): Expectation(None, _SEES_DISTANCES) for k in (2, 3, 4)},
    **{("dimenet", f"{k}-chain"): Expectation(None, _SAME_AT_EVERY_BOND) for k in (2, 3, 4)},
    ("gemnet", "2-chain"): Expectation(1, "the ends are at a dihedral of 0° or 180° over one bond"),
    **{("gemnet", f"{k}-chain"): Expectation(None, "a torsion spans one bond; over a straight chain none is defined")
       for k in (3, 4)},
    **{("painn", f"{k}-chain"): Expectation(
        k // 2 + 1, "⌊k/2⌋ + 1: the two directions meet half-way and are multiplied there")
       for k in (2, 3, 4)},
    **{("nequip", f"{k}-chain"): Expectation(
        k + 1, "features are multiplied with bonds, never with each other: one direction travels to the other's bond",
        k // 2 + 1)
       for k in (2, 3, 4)},
    # The Picasso problem, three layers.
    ("schnet", "bend"): Expectation(None, _SEES_DISTANCES),
    ("schnet", "twist"): Expectation(None, _SEES_DISTANCES),
    ("dimenet", "bend"): Expectation(1, _ANGLES_AT_ONCE),
    ("dimenet", "twist"): Expectation(None, _SAME_AT_EVERY_BOND),
    ("gemnet", "bend"): Expectation(1, _ANGLES_AT_ONCE),
    ("gemnet", "twist"): Expectation(1, "the dihedral enters the first messages between quadruplets"),
    ("painn", "bend"): Expectation(1, "the norm of the summed bond vectors holds their angle"),
    ("painn", "twist"): Expectation(2, "directions at the two ends of a bond meet after two layers"),
    ("nequip", "bend"): Expectation(2, "the second layer contracts summed directions with each bond"),
    ("nequip", "twist"): Expectation(3, "one part's direction travels two bonds, and is contracted with the other's"),
}

def expectation(name: str, pair: str) -> Expectation | None:
    """The expectation for a family and a pair; ``None`` for a family that is not in the table."""
    return EXPECTED.get((name, pair))
