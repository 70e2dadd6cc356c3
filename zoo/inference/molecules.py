"""Prediction from SMILES: conformers, the model on the lowest or on all of them, one result for each molecule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from ase.units import kB

from zoo.errors import StructureError, ZooError
from zoo.inference.prediction import as_table, predict
from zoo.inference.results import Prediction, Predictions
from zoo.model.checks import Scope
from zoo.structures.embedding import Embedded, embed_all
from zoo.structures.inputs import species_of
from zoo.structures.smiles import CONFORMERS, SEED, EmbeddedMolecule
from zoo.structures.smiles_files import SmilesLine

if TYPE_CHECKING:
    from zoo.model.model import Model

__all__ = ["CHUNK", "Average", "check_conformers", "conformer_weights", "embedded_for",
           "predict_molecules", "predict_smiles"]

Average = Literal["lowest", "boltzmann", "mean"]
"""Over the conformers of a molecule: the lowest alone, weights exp(−E/kT) of the force field's energies at 298.15 K, or
equal weights."""
AVERAGES: tuple[Average, ...] = ("lowest", "boltzmann", "mean")

CHUNK = 256
"""Structures or molecules that are computed before results are handed on."""
_TEMPERATURE = 298.15  # K; QM9's H, G and Cv are at this temperature


def predict_smiles(
    smiles: str | Iterable[str],
    *,
    model: Model | str | None = None,
    conformers: int = CONFORMERS,
    average: Average = "lowest",
    seed: int = SEED,
    processes: int = 1,
    uncertainty: bool = True,
    as_frame: bool = False,
    on_error: Literal["raise", "keep"] = "raise",
    device: str | None = None,
    dtype: str = "float32",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Predict the properties of molecules given as SMILES.

    Args:
        smiles: one, or any number.
        model: a loaded model or its name; by default the one for molecules, see
            :func:`zoo.registry.default_models.default_model`.
        conformers: embeddings (ETKDGv3), each relaxed with MMFF94; duplicates are dropped.
        average: over the conformers, see :data:`Average`.
        seed: of the embeddings; results are the same for every call and any number of processes.
        processes: for the embeddings; in a script, more than 1 need ``if __name__ == "__main__":``.
        uncertainty: as in :func:`zoo.inference.prediction.predict`.
        as_frame: a pandas table, one row a molecule.
        on_error: ``"keep"`` returns the :class:`~zoo.errors.ZooError` of a molecule in its place.
        device, dtype: where and how a model given by name is loaded.
        progress: called with the number of molecules done.

    Returns:
        For one SMILES a dict, for several a list of them in order: what ``predict`` returns, and ``smiles`` (canonical,
        with the stereochemistry that was taken), ``conformers`` (number of distinct ones), ``notes`` and ``atoms`` (the
        lowest conformer).

    Raises:
        MissingExtraError: RDKit is not installed.
        StructureError: a SMILES that cannot be parsed or embedded, or a molecule that the model does not know.
    """
    from zoo.loading.models import load
    from zoo.registry.default_models import default_model

    if model is None or isinstance(model, str):
        model = load(model or default_model(periodic=False), device=device, dtype=dtype)
    single = isinstance(smiles, str)
    texts = [smiles] if isinstance(smiles, str) else smiles
    lines = (SmilesLine(text, line=number) for number, text in enumerate(texts, 1))
    embedded = embedded_for(model, lines, count=conformers, average=average, seed=seed, processes=processes)
    results: list[Any] = []
    while part := list(islice(embedded, CHUNK)):
        done = predict_molecules(model, [one.molecule for one in part], average=average, uncertainty=uncertainty)
        for one, result in zip(part, done):
            if isinstance(result, ZooError):
                if on_error == "raise":
                    raise result if single else type(result)(f"SMILES {one.line.line - 1}: {result}") from None
                results.append(result)
            else:
                results.append(Prediction(result | _of_molecule(one.molecule), model.units))
        if progress is not None:
            progress(len(results))
    if as_frame:
        return as_table(results)
    return results[0] if single else Predictions(results, model.units)


def _of_molecule(molecule: EmbeddedMolecule | ZooError) -> dict[str, Any]:
    assert isinstance(molecule, EmbeddedMolecule)
    return {"smiles": molecule.smiles, "conformers": molecule.found, "notes": list(molecule.notes),
            "atoms": molecule.atoms()}


def embedded_for(model: Model, lines: Iterable[SmilesLine], *, count: int = CONFORMERS, average: Average = "lowest",
                 seed: int = SEED, processes: int = 1, isolated: bool = False) -> Iterator[Embedded]:
    """The molecules of ``lines`` that a model takes, with the conformers that ``average`` needs; lazily and in order.

    Other arguments are those of :func:`zoo.structures.embedding.embed_all`.

    Raises:
        StructureError: ``average`` is none of the known ones, or fewer than one conformer is asked for.
    """
    check_conformers(average, count, seed)
    return embed_all(lines, count=count, seed=seed, species=species_of(Scope.of(model)), processes=processes,
                     keep=1 if average == "lowest" else None, isolated=isolated)


def check_conformers(average: str, count: int, seed: int) -> None:
    """Raises :class:`~zoo.errors.StructureError` as :func:`embedded_for` does."""
    if average not in AVERAGES:
        raise StructureError(f"no average '{average}' over conformers. Fix: choose from {', '.join(AVERAGES)}.")
    if count < 1 or seed < 1:
        raise StructureError(f"{count} conformers with seed {seed}. Fix: give 1 or more of both.")


def predict_molecules(model: Model, molecules: Sequence[EmbeddedMolecule | ZooError], *, average: Average = "lowest",
                      **options: Any) -> list[Any]:
    """One result or error for each molecule, averaged over its conformers.

    Args:
        molecules: embedded; an error stays in its place.
        average: see :data:`Average`.
        options: of :func:`zoo.inference.prediction.predict`.
    """
    with _one_thread():
        return [one if isinstance(one, ZooError) else _predict(model, one, average, options) for one in molecules]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Float32 sums depend on the number of threads, which is another one on another machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _predict(model: Model, molecule: EmbeddedMolecule, average: Average, options: dict[str, Any]) -> Any:
    # Each molecule is a batch of its own: float32 rounds in another way in another batch, and numbers would depend on
    # the order of the molecules. Embedding takes several times as long.
    weights = conformer_weights(molecule, average)
    structures = [molecule.atoms(k) for k in range(len(weights))]
    return _average(predict(model, structures, on_error="keep", **options), weights)


def conformer_weights(molecule: EmbeddedMolecule, average: Average) -> Sequence[float]:
    """Weight of each conformer that counts, lowest energy first; they sum to 1."""
    if average == "lowest":
        return (1.0,)
    energy = np.array([minimum.energy for minimum in molecule.minima])
    weights = np.exp((energy[0] - energy) / (kB * _TEMPERATURE)) if average == "boltzmann" else np.ones(len(energy))
    return tuple((weights / weights.sum()).tolist())


def _average(results: Sequence[Any], weights: Sequence[float]) -> Any:
    errors = [result for result in results if isinstance(result, ZooError)]
    if errors:
        return errors[0]
    first = results[0]
    if len(results) == 1:
        return first
    mean = {key: sum(w * result[key] for w, result in zip(weights, results))
            for key in first if key not in ("uncertainty", "outside")}
    if first.get("uncertainty") is not None:
        mean["uncertainty"] = {target: sum(w * result["uncertainty"][target] for w, result in zip(weights, results))
                               for target in first["uncertainty"]}
        mean["outside"] = list(dict.fromkeys(reason for result in results for reason in result["outside"]))
    return {key: mean.get(key) for key in first}
