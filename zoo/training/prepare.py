"""From a card to a model ready for the first step: random or given weights, fitted constants."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.data.batches import plan
from zoo.data.store import Store
from zoo.errors import TrainingError, UnknownNameError
from zoo.loading.models import build, load, resolve
from zoo.model.model import Model
from zoo.training.recipe import Loss, Recipe, apply_overrides
from zoo.training.references import ABSURD, absurd_residuals, fit_force_scale, fit_readouts

__all__ = ["begun", "complete", "copy_weights", "fit_constants", "read_card", "untrained"]

_FIT_MOLECULES = 128
_FIT_ENOUGH = 20_000
_RESULTS = ("source", "weights", "metrics", "breakdown", "training", "golden")


def read_card(card: str | Path | Card, overrides: tuple[str, ...] | list[str] = ()) -> Card:
    """A checked card with overrides applied, without results of an earlier training.

    Raises:
        UnknownNameError: neither a file, a folder nor a name of the zoo.
    """
    if isinstance(card, Card):
        found = card
    elif Path(card).exists():
        found = Card.load(card)
    elif Path(card).suffix in (".yaml", ".yml") or len(Path(card).parts) > 1:
        raise UnknownNameError(f"there is no card {card}. Fix: give the path of a card, or a name from zoo list")
    else:
        from zoo.registry.names import show

        found = show(str(card))
    data = apply_overrides(found.to_dict(), overrides)
    # Fitted references hold only for the data of that fit; given ones stay.
    given = {name: r for name, r in (data.get("references") or {}).items() if r["kind"] != "fitted"}
    sections = {key: data.get(key) for key in ("recipe", "config", "targets", "data")}
    remark = found.uncertainty if isinstance(found.uncertainty, str) else None
    return found.replace(**sections, references=given or None, uncertainty=remark, **dict.fromkeys(_RESULTS))


def begun(card: Card, run: Path | None) -> Card:
    """The card with the initial weights of a run (``recipe.from``) and the hours that went into them.

    Args:
        run: folder of a resumed run; its ``run.yaml`` names the initial weights, even if these have changed since.

    Raises:
        TrainingError: the card names other initial weights than the run.
    """
    source = card.recipe.get("from")
    if run is None:
        hours = resolve(source).card.training.all_hours if source else None
    elif (run / "run.yaml").exists():
        before = Card.load(run / "run.yaml")
        origin, hours = before.recipe.get("from"), before.training.earlier_hours
        if source is not None and source != origin:
            raise TrainingError(f"the run in {run} began with {origin or 'random weights'} and goes on from its own "
                                f"checkpoint. Fix: leave out 'from' {source}, or name another folder")
        source = origin
    else:
        return card
    recipe = card.recipe | ({"from": source} if source else {})
    return card.replace(recipe=recipe, training={"earlier_hours": round(hours, 4)} if hours else None)


def complete(recipe: Recipe, targets: Mapping[str, Any]) -> Recipe:
    """The recipe with a loss for every target of the card: ``Loss()`` by default; weight 0 leaves a target out."""
    losses = {name: recipe.losses.get(name, Loss()) for name in targets}
    losses |= {name: loss for name, loss in recipe.losses.items() if name not in losses}
    return recipe.model_copy(update={"losses": {n: loss for n, loss in losses.items() if loss.weight > 0}})


def untrained(card: Card, *, seed: int, dtype: torch.dtype) -> Model:
    """A model whose weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(card).to(dtype)


def copy_weights(model: Model, source: str | Path | Model) -> dict[str, list[str]]:
    """Start from a trained model: its backbone, and the readouts of targets that both have.

    Fitted references are not copied, but the scale of a copied readout is: its network was trained with it.

    Returns the targets that were ``copied`` and those that start ``new``.

    Raises:
        TrainingError: the backbones differ.
    """
    trained = source if isinstance(source, Model) else load(source)
    own, given = model.state_dict(), trained.state_dict()
    mine = {name: value.shape for name, value in own.items() if name.startswith("backbone.")}
    theirs = {name: value.shape for name, value in given.items() if name.startswith("backbone.")}
    if mine != theirs:
        odd = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        other = trained.required_card
        raise TrainingError(f"the backbone of {other.name} ({other.architecture}) does not fit that of "
                            f"the card ({model.required_card.architecture}): {', '.join(odd[:4])}"
                            f"{' …' if len(odd) > 4 else ''}. Fix: use the same architecture and config")
    taken = {name: given[name].to(own[name]) for name in mine}
    copied = [name for name in model.readouts if name in trained.readouts and _alike(model, trained, name)]
    for name in copied:
        prefix = f"readouts.{name}."
        taken |= {key: value.to(own[key]) for key, value in given.items()
                  if key.startswith(prefix) and not key.endswith("constants.coefficients")}
    model.load_state_dict(own | taken)
    return {"copied": copied, "new": [name for name in model.readouts if name not in copied]}


def _alike(model: Model, trained: Model, name: str) -> bool:
    mine, theirs = model.readouts[name], trained.readouts[name]
    shapes = [{key: value.shape for key, value in readout.state_dict().items() if key != "constants.coefficients"}
              for readout in (mine, theirs)]
    return type(mine) is type(theirs) and shapes[0] == shapes[1] and model.units[name] == trained.units[name]


def fit_constants(model: Model, store: Store, train: Tensor, recipe: Recipe, *, copied: list[str] | None = None,
                  force: bool = False) -> dict[str, float]:
    """Fit references and scales of the readouts, and constants of the backbone, on training data.

    Args:
        copied: targets whose network is trained already: references are fitted to its residuals.

    Returns the standard deviation of what remains to be learned, by target, in its unit.

    Raises:
        TrainingError: references leave more than :data:`ABSURD` eV an atom, and ``force`` is not set.
    """
    names = [name for name in recipe.losses if name in model.readouts]
    # The backbone first: the outputs of the network depend on its constants.
    fit_backbone = getattr(model.backbone, "fit_constants", None)
    if not copied and fit_backbone is not None:
        some = train[:: max(1, len(train) // _FIT_MOLECULES)][:_FIT_MOLECULES]
        with torch.no_grad():
            fit_backbone(model.with_vectors(store.graph(some, dtype=model.dtype).to(model.device)))
    rows = train if not copied or len(train) <= _FIT_ENOUGH else train[:: len(train) // _FIT_ENOUGH + 1]
    network = _network_part(model, store, rows, copied, recipe) if copied else {}
    spread = fit_readouts(model, store, rows, names, given=_given(model, names), network=network)
    if "forces" in recipe.losses and model.energy_target in names and model.energy_target not in network:
        fit_force_scale(model, store, rows)
    absurd = absurd_residuals(model, store, train, names)
    if absurd and not force:
        shown = ", ".join(f"{name} {value:.1f} eV/atom" for name, value in absurd.items())
        raise TrainingError(f"the references leave residuals beyond {ABSURD} eV per atom: {shown}. They belong to "
                            "other data or units, or the card says reference: none. Fix: correct them (reference: "
                            "fitted fits them to the training data), or train all the same with --force")
    return spread


def _given(model: Model, names: list[str]) -> dict[str, Tensor]:
    """Coefficients that are not fitted: those of the card, zeros for extensive targets without references.

    Raises:
        TrainingError: a target has a ``reference``, but the card has no values for it.
    """
    given, card = {}, model.required_card
    for name in names:
        readout, spec = model.readouts[name], card.targets[name]
        count = readout.constants.coefficients.numel()
        if spec.reference in ("atomization", "isolated"):
            held = card.references.get(name)
            if held is None:
                raise TrainingError(f"{card.where('targets', name)}: reference '{spec.reference}', but the card "
                                    f"holds no references.{name}.values. Fix: give them, or write reference: fitted")
            symbols = readout.basis_names(model.elements)
            given[name] = torch.tensor([held.values.get(symbol, 0.0) for symbol in symbols], dtype=torch.float64)
        elif spec.reference == "none" and readout.extensive:
            given[name] = torch.zeros(count, dtype=torch.float64)
    return given


def _network_part(model: Model, store: Store, rows: Tensor, names: list[str], recipe: Recipe) -> dict[str, Tensor]:
    """(n, ...) scale · network of the copied readouts, float64."""
    sizes = {"atoms": store.n_atoms.cpu().numpy(), "edges": store.n_edges.cpu().numpy()}
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    model.eval()
    with torch.no_grad():
        for batch in plan(rows.numpy(), sizes, recipe.batch.model_dump()):
            outputs = model(store.graph(torch.from_numpy(batch), dtype=model.dtype).to(model.device), standardised=True)
            for name in names:
                parts[name].append((outputs[name].double() * model.readouts[name].constants.scale).to(store.device))
    return {name: torch.cat(part) for name, part in parts.items()}
