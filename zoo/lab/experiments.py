"""All expressivity experiments for several families, compared with the theoretical expectations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoo.errors import ZooError
from zoo.lab.chains import chains
from zoo.lab.expectations import Expectation, expectation
from zoo.lab.expressivity import Verdict, expressivity, first_distinguished
from zoo.lab.pairs import pairs
from zoo.lab.picasso import Accuracy, picasso
from zoo.lab.stars import Orientation, orientations
from zoo.registry.families import FAMILIES

__all__ = ["EXPERIMENTS", "ExperimentResults", "PairResult", "findings", "run_experiments"]

EXPERIMENTS = ("pairs", "chains", "stars", "picasso")


@dataclass(frozen=True)
class PairResult:
    """The result of one network on one pair, over all depths.

    Attributes:
        shallow, deep: the verdicts at the smallest and at the largest depth; the same for a trained model.
        tried: the depths; empty for a trained model.
        first: the smallest depth that distinguishes the pair; ``None`` if none does, or if depth cannot be chosen.
        expected: the theoretical result; ``None`` if it is not in the table.
    """

    name: str
    pair: str
    shallow: Verdict
    deep: Verdict
    tried: tuple[int, ...]
    first: int | None
    expected: Expectation | None

    @property
    def as_expected(self) -> bool | None:
        """Whether the smallest depth that distinguishes the pair is the expected one."""
        if self.expected is None:
            return None
        should = self.expected.layers
        return self.first == (None if should is None else next((d for d in self.tried if d >= should), None))


@dataclass(frozen=True)
class ExperimentResults:
    """The results of :func:`run_experiments`; empty for experiments that were not requested."""

    pairs: list[PairResult]
    chains: list[PairResult]
    stars: list[Orientation]
    picasso: list[Accuracy]

    @property
    def surprises(self) -> list[str]:
        """All results that differ from the expectation, in words."""
        words = [
            f"{f.name} on {f.pair}: {'never' if f.first is None else f'from {f.first} layers'}; expected "
            f"{'never' if f.expected.layers is None else f'from {f.expected.layers}'}, because {f.expected.reason}"
            for f in [*self.pairs, *self.chains] if f.expected is not None and not f.as_expected
        ]
        words += [f"{o.name} with lmax {o.lmax} on the {o.fold}-fold star: {'seen' if o.seen else 'not seen'}"
                  for o in self.stars if o.seen != o.expected]
        return words + [f"{a.name} on {a.level}: accuracy {a.mean:.2f}" for a in self.picasso if a.as_expected is False]


def run_experiments(
    names: Sequence[str] = FAMILIES,
    *,
    experiments: Iterable[str] = ("pairs", "chains", "stars"),
    layers: Sequence[int] = (1, 2, 3, 4, 5),
    seeds: int = 3,
) -> ExperimentResults:
    """Run experiments on architectures or trained models; ``picasso`` trains and takes minutes.

    Raises:
        ZooError: an unknown experiment, or ``layers`` that are not positive and ascending.
        UnknownNameError: a name is neither an architecture nor a trained model.
    """
    wanted = set(experiments)
    unknown = sorted(wanted - set(EXPERIMENTS))
    if unknown:
        raise ZooError(f"there is no experiment '{unknown[0]}'. Fix: choose from {', '.join(EXPERIMENTS)}")
    if not layers or list(layers) != sorted(set(layers)) or layers[0] < 1:
        raise ZooError(f"layers {list(layers)} are not ascending positive numbers. Fix: give some, such as 1,2,3")
    chosen = {"pairs": pairs() if "pairs" in wanted else [], "chains": chains() if "chains" in wanted else []}
    both = [*chosen["pairs"], *chosen["chains"]]
    found = findings(expressivity(names, chosen=both, layers=layers, seeds=seeds)) if both else []
    short = {pair.name for pair in chosen["pairs"]}
    return ExperimentResults(
        pairs=[f for f in found if f.pair in short],
        chains=[f for f in found if f.pair not in short],
        stars=orientations(names) if "stars" in wanted else [],
        picasso=picasso(names) if "picasso" in wanted else [],
    )


def findings(verdicts: Iterable[Verdict]) -> list[PairResult]:
    """One result for every network and pair, from the verdicts at all depths."""
    by_key: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        by_key.setdefault((verdict.name, verdict.pair), []).append(verdict)
    first = first_distinguished(verdict for group in by_key.values() for verdict in group)
    return [
        PairResult(name, pair, group[0], group[-1], tuple(v.layers for v in group if v.layers is not None),
                None if (f := first[name, pair]) is None else f.layers,
                expectation(name, pair) if group[0].layers is not None else None)
        for (name, pair), group in by_key.items()
    ]
