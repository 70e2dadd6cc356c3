"""From a card to a model ready for the first step: random or given weights, fitted constants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.cards.card import Card
from zoo.data.batches import plan
from zoo.data.store import Store
from zoo.errors import TrainingError, UnknownNameError
from zoo.loading.building import build
from zoo.loading.models import load
from zoo.loading.resolution import resolve
from zoo.model.model import Model
from zoo.registry import host
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
    # Fitted references hold only for the data of that fit; given ones stay, unless an override asks for others.
    kinds = {name: spec.get("reference") for name, spec in data["targets"].items() if isinstance(spec, dict)}
    given = {name: r for name, r in (data.get("references") or {}).items()
             if r["kind"] != "fitted" and r["kind"] == kinds.get(name)}
    sections = {key: data.get(key) for key in ("recipe", "config", "targets", "data")}
    remark = found.uncertainty if isinstance(found.uncertainty, str) else None
    return found.replace(**sections, references=given or None, uncertainty=remark, **dict.fromkeys(_RESULTS))


def begun(card: Card, run: Path | None) -> Card:
    """The card with the initial weights of a run (``recipe.from``), what else belongs to that model, and its hours.

    Args:
        run: folder of a resumed run; its ``run.yaml`` names the initial weights, even if these have changed since.

    Raises:
        TrainingError: the card names other initial weights than the run.
    """
    source = card.recipe.get("from")
    if run is None:
        origin = resolve(source).card if source else None
        hours = None if origin is None else origin.training.all_hours
    elif (run / "run.yaml").exists():
        origin = Card.load(run / "run.yaml")
        before, hours = origin.recipe.get("from"), origin.training.earlier_hours
        if source is not None and source != before:
            raise TrainingError(f"the run in {run} began with {before or 'random weights'} and goes on from its own "
                                f"checkpoint. Fix: leave out 'from' {source}, or name another folder")
        source = before
    else:
        return card
    recipe = card.recipe | ({"from": source} if source else {})
    inherited = {} if origin is None or source is None else _inherited(card, origin)
    return card.replace(recipe=recipe, training={"earlier_hours": round(hours, 4)} if hours else None, **inherited)


def _inherited(card: Card, origin: Card) -> dict[str, Any]:
    """Keys of the card that belong to the model it starts from, where the card itself does not name them."""
    found: dict[str, Any] = {}
    if "priors" not in card.model_fields_set and any(spec.readout == "energy" for spec in card.targets.values()):
        found["priors"] = origin.priors if origin.priors.given() else None
    lacking = {name: spec for name, spec in card.targets.items()
               if spec.reference in ("atomization", "isolated") and name not in card.references}
    elements = set(card.domain.elements)
    given = {name: held for name, spec in lacking.items() if (held := origin.references.get(name)) is not None
             and (held.kind, held.unit) == (spec.reference, spec.unit) and elements <= set(held.values)}
    if given:
        found["references"] = {**card.references, **given}
    return found


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
    """Start from a trained model: its backbone, and the readouts of targets that both have, with their constants.

    The scale of a copied readout stays, since its network was trained with it. References are copied by element;
    fitted ones are fitted again from these (:func:`fit_constants`).

    Returns the targets that were ``copied`` and those that start ``new``.

    Raises:
        TrainingError: the backbones differ in architecture, shapes, or the value of a keyword.
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
    _check_config(model, trained)
    taken = {name: given[name].to(own[name]) for name in mine}
    copied = [name for name in model.readouts if name in trained.readouts and _alike(model, trained, name)]
    for name in copied:
        prefix = f"readouts.{name}."
        taken |= {key: value.to(own[key]) for key, value in given.items()
                  if key.startswith(prefix) and not key.endswith("constants.coefficients")}
    model.load_state_dict(own | taken)
    for name in copied:
        _copy_references(model, trained, name)
    return {"copied": copied, "new": [name for name in model.readouts if name not in copied]}


def _check_config(model: Model, trained: Model) -> None:
    """Weights of equal shape mean something else at another cut-off, or with elements in another order."""
    mine, theirs = model.card, trained.card
    if mine is None or theirs is None or mine.architecture != theirs.architecture:
        return
    defaults = host.defaults(mine.architecture)
    here, there = (json.loads(json.dumps(defaults | c.config, default=repr)) for c in (mine, theirs))
    odd = [f"{key} is {there.get(key)} there and {here.get(key)} here" for key in here.keys() | there.keys()
           if here.get(key) != there.get(key)]
    if odd:
        raise TrainingError(f"the backbone of {theirs.name} does not fit that of the card, though its weights have the "
                            f"same shapes: {'; '.join(sorted(odd))}. Fix: use the same config")


def _copy_references(model: Model, trained: Model, name: str) -> None:
    """Coefficients by name, since the two models may list their elements in another order."""
    mine, theirs = model.readouts[name], trained.readouts[name]
    values = theirs.constants.coefficients.tolist()
    known = dict(zip(theirs.basis_names(trained.elements), values))
    wanted = [known.get(symbol, 0.0) for symbol in mine.basis_names(model.elements)]
    mine.set_constants(coefficients=torch.tensor(wanted, dtype=torch.float64))


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
