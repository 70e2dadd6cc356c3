"""What is wrong with training data, found before the first step: errors, and warnings that name the structures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.data.identity import fingerprints
from zoo.elements import SYMBOLS
from zoo.errors import DataError, TrainingError
from zoo.model.output_types import Per
from zoo.training.outliers import energy_outliers
from zoo.training.references import linear_bases
from zoo.units import dimension, factor

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.model.model import Model

__all__ = ["check_apart", "check_elements_of_splits", "check_labels", "named", "suspicious_labels"]

ABSURD_FORCE = 1e4
"""eV/Å; a force between two protons 0.04 Å apart."""

_SHAPES: dict[str, tuple[tuple[int, ...], Per]] = {"forces": ((3,), "atom"), "stress": ((3, 3), "structure")}

log = logging.getLogger(__name__)


def named(store: Store, rows: Tensor, *, most: int = 12) -> str:
    """Structures as a reader finds them: places in a file, counted from 0, or identities; neighbors as ranges."""
    ids = sorted(store.ids[rows.to(store.ids.device)].tolist())
    word = "frame" if str(store.meta.get("source", "")).startswith("file ") else "id"
    spans: list[list[int]] = []
    for identity in ids:
        if spans and identity == spans[-1][1] + 1:
            spans[-1][1] = identity
        else:
            spans.append([identity, identity])
    parts = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}–{b}" for a, b in spans]
    more = f", … ({len(ids):,} in all)" if len(parts) > most else ""
    return f"{word}{'s' if len(ids) > 1 else ''} {', '.join(parts[:most])}{more}"


# -- errors --------------------------------------------------------------------------------------------------------


def check_labels(model: Model, store: Store, rows: Mapping[str, Tensor], names: Iterable[str]) -> None:
    """Refuse labels of another shape than the model's outputs, infinite ones, and splits without any.

    Raises:
        DataError: names the label, its shape, or the structures.
        TrainingError: no structure that is trained on, or by which the best weights are chosen, has the label.
    """
    for name in names:
        shape, per = _SHAPES.get(name) or (model.output_types[name].shape, model.output_types[name].per)
        if per == "edge":
            raise DataError(f"'{name}' is predicted per edge, and data sets hold labels per structure and per atom. "
                            f"Fix: leave it out of the training with --set recipe.losses.{name}.weight=0")
        per_atom = per == "atom"
        label = store.labels[name]
        if tuple(label.shape[1:]) != shape or (name in store.per_atom) != per_atom:
            raise DataError(f"the label '{name}' has {_in_words(tuple(label.shape[1:]), name in store.per_atom)}, and "
                            f"the model predicts {_in_words(shape, per_atom)}. Fix: name the key that holds it "
                            f"(data.keys.{name}), or give '{name}' a readout of that shape")
        known = _known(store, name)
        infinite = label.isinf().reshape(len(label), -1).any(1).nonzero()[:, 0]
        if len(infinite):
            owners = _owner(store)[infinite].unique() if per_atom else infinite
            raise DataError(f"the label '{name}' is infinite: {named(store, owners)}. Fix: correct these structures or "
                            "leave them out")
        for split, what in (("train", "to learn"), ("val", "to choose the best weights by")):
            if not bool(known[rows[split].to(known.device)].any()):
                reason = " (only periodic structures have one)" if name == "stress" else ""
                raise TrainingError(f"no structure of the split '{split}' has the label '{name}'{reason}: there is "
                                    f"nothing {what}. Fix: add structures that have it, divide the data otherwise "
                                    f"(data.split), or take '{name}' out: --set recipe.losses.{name}.weight=0")


def check_apart(store: Store, rows: Mapping[str, Tensor], where: str) -> None:
    """Refuse a division of the data whose parts share structures.

    Raises:
        DataError: names two parts and the structures.
    """
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        both = rows[one][torch.isin(rows[one], rows[other])]
        if len(both):
            raise DataError(f"{where}: {len(both):,} structures belong to the splits '{one}' and '{other}' at once: "
                            f"{named(store, both)}. Fix: correct the split, or take file out of data.split to divide "
                            "the data anew")


def check_elements_of_splits(store: Store, rows: Mapping[str, Tensor], domain: Sequence[int], *,
                             learnt: Iterable[int] = (), force: bool = False) -> None:
    """Refuse elements that only validation or test structures have; warn about those of the domain that none has.

    Args:
        domain: atomic numbers of the model's domain.
        learnt: those that the weights were trained on before.
        force: warn only.

    Raises:
        TrainingError: names elements and structures.
    """
    counts = store.composition()
    elements = torch.tensor(store.elements)
    train = counts[rows["train"].to(counts.device)].sum(0).cpu() > 0
    known = set(elements[train].tolist()) | set(learnt)
    for split in ("val", "test"):
        part = rows[split]
        if not len(part):
            continue
        strange = [k for k, z in enumerate(elements.tolist()) if z not in known]
        has = counts[part.to(counts.device)][:, strange].cpu() > 0
        if not bool(has.any()):
            continue
        symbols = [SYMBOLS[int(elements[k])] for k, any_ in zip(strange, has.any(0).tolist()) if any_]
        message = (f"structures of the split '{split}' have {', '.join(symbols)}, which no structure that is trained "
                   f"on has: {named(store, part[has.any(1)])}. The model cannot learn what it is measured on. ")
        if not force:
            raise TrainingError(message + "Fix: leave these structures out, divide the data otherwise with --set "
                                          "data.split.seed=1, or train all the same with --force")
        log.warning("warning: %s", message.strip())
    unseen = [z for z in domain if z not in known]
    if unseen:
        log.warning("warning: domain.elements names %s, which no structure that is trained on has: predictions for it "
                    "will mean nothing. Fix: take it out of the card's domain.elements",
                    ", ".join(SYMBOLS[z] for z in unseen))


# -- warnings ------------------------------------------------------------------------------------------------------


def suspicious_labels(model: Model, store: Store, rows: Mapping[str, Tensor], names: Iterable[str]) -> list[str]:
    """Warnings about labels that are probably mistakes, and about structures that two splits share."""
    used = torch.cat([part.cpu() for part in rows.values()]).unique()
    found = [text for name in names if (text := _energies(model, store, used, name) if name in model.readouts
                                        else _forces(store, used, name))]
    shared = _shared(store, rows)
    return [*found, shared] if shared else found


def _energies(model: Model, store: Store, rows: Tensor, name: str) -> str | None:
    unit = store.units[name]
    readout = model.readouts[name]
    if not readout.extensive or not model.output_types[name].is_scalar or dimension(unit) != dimension("eV"):
        return None
    label = store.labels_of(rows, [name])[name] * factor(unit, "eV")
    known = label.isfinite()
    rows, label = rows[known.cpu()], label[known].cpu()
    basis = linear_bases(model, store, rows, [name])[name].cpu()
    n_atoms = store.n_atoms[rows.to(store.device)].cpu()
    residual, outside = energy_outliers(label, basis, n_atoms)
    if not bool(outside.any()):
        return None
    total, each = (float(x[outside].median()) for x in (residual * n_atoms, residual))
    return (f"'{name}' of {int(outside.sum()):,} of {len(rows):,} structures does not fit to that of the others: after "
            f"atomic references it differs by about {total:+,.4g} eV ({each:+,.4g} eV per atom): "
            f"{named(store, rows[outside])}. Another method, unit or reference of energy, or calculations that failed? "
            "Fix: correct these labels or leave the structures out")


def _forces(store: Store, rows: Tensor, name: str) -> str | None:
    if name != "forces":
        return None
    size = store.labels["forces"].norm(dim=1) * factor(store.units["forces"], "eV/Å")
    atoms = (size > ABSURD_FORCE).nonzero()[:, 0]
    owners = _owner(store)[atoms].unique().cpu()
    owners = owners[torch.isin(owners, rows)]
    if not len(owners):
        return None
    return (f"forces beyond {ABSURD_FORCE:,.0f} eV/Å, up to {float(size[atoms].max()):,.4g} eV/Å: "
            f"{named(store, owners)}. Atoms on top of each other, or another unit? Fix: correct these structures or "
            "leave them out")


def _shared(store: Store, rows: Mapping[str, Tensor]) -> str | None:
    """Copies of one structure in two splits: errors on them say nothing about other structures."""
    if store.charge is not None or store.spin is not None or store.node_attrs is not None:
        return None  # one geometry may be several structures
    prints = torch.from_numpy(fingerprints(store))
    copies = [rows[split][torch.isin(prints[rows[split]], prints[rows["train"]])] for split in ("val", "test")]
    both = torch.cat(copies)
    if not len(both):
        return None
    return (f"{len(both):,} structures of the validation and test splits are trained on too, as copies with the same "
            f"atoms at the same positions: {named(store, both)}. Errors on them are too small. Fix: leave the copies "
            "out")


# -- parts ---------------------------------------------------------------------------------------------------------


def _owner(store: Store) -> Tensor:
    """(A,) the structure of each atom."""
    return torch.repeat_interleave(torch.arange(len(store), device=store.device), store.n_atoms)


def _known(store: Store, name: str) -> Tensor:
    """(M,) whether a structure has any value of the label."""
    known = store.labels[name].isfinite()
    known = known.reshape(len(known), -1).any(1)
    if name not in store.per_atom:
        return known
    found = torch.zeros(len(store), dtype=torch.int64, device=known.device)
    return found.index_add_(0, _owner(store), known.long()) > 0


def _in_words(shape: tuple[int, ...], per_atom: bool) -> str:
    size = f"{' × '.join(map(str, shape))} numbers" if shape else "one number"
    return f"{size} per {'atom' if per_atom else 'structure'}"
