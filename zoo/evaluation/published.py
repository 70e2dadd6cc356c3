"""Published results to compare the models with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """Test errors from a paper.

    Attributes:
        metric: ``mae`` or ``rmse``, for all values.
        values: target → error, in ``units``.
        citation: the source.
        note: differences from the models of this package.
    """

    name: str
    metric: str
    values: Mapping[str, float]
    units: Mapping[str, str]
    citation: str
    note: str


_QM9_UNITS = {"mu": "D", "alpha": "a0^3", "homo": "meV", "lumo": "meV", "gap": "meV", "r2": "a0^2", "zpve": "meV",
              "U0": "meV", "U": "meV", "H": "meV", "G": "meV", "Cv": "cal/mol/K"}
_ONE_EACH = ("one model for every target, trained for hundreds of epochs or more; 110,000 training molecules of a "
             "random split of its own")


def _qm9(name: str, values: list[float], citation: str) -> Published:
    return Published(name, "mae", dict(zip(_QM9_UNITS, values)), _QM9_UNITS, citation, _ONE_EACH)


_SCHNET = _qm9("SchNet", [0.033, 0.235, 41, 34, 63, 0.073, 1.7, 14, 19, 14, 14, 0.033],
               "K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller, J. Chem. Phys. 148, 241722 "
               "(2018)")
_DIMENET = _qm9("DimeNet++", [0.030, 0.044, 24.6, 19.5, 32.6, 0.331, 1.21, 6.3, 6.3, 6.5, 7.6, 0.023],
                "J. Gasteiger, S. Giri, J. T. Margraf, S. Günnemann, arXiv:2011.14115 (2020)")
_PAINN = _qm9("PaiNN", [0.012, 0.045, 27.6, 20.4, 45.7, 0.066, 1.28, 5.9, 5.8, 6.0, 7.4, 0.024],
              "K. T. Schütt, O. T. Unke, M. Gastegger, ICML 2021, arXiv:2102.03150")


def _acac(name: str, energy: float, forces: float) -> Published:
    return Published(name, "rmse", {"energy": energy, "forces": forces}, {"energy": "meV", "forces": "meV/Å"},
                     "I. Batatia, D. P. Kovács, G. N. C. Simm, C. Ortner, G. Csányi, NeurIPS 2022, arXiv:2206.07697",
                     "the same 500 frames at 300 K to train on, tested at 300 K; larger models, trained far longer")


PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "qm9": (_SCHNET, _DIMENET, _PAINN),
    "acac": (_acac("BOTNet", 0.89, 6.3), _acac("NequIP", 0.81, 5.9), _acac("MACE", 0.9, 5.1)),
}
"""By the label of a leaderboard."""
