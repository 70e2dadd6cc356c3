"""The recipe: the whole training configuration of a card, checked before any work. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from zoo.cards.section import Section, explain, problem
from zoo.errors import CardError, TrainingError, did_you_mean
from zoo.files.yaml_loader import Document, parse_yaml
from zoo.training.parts import check_names

__all__ = ["Batch", "Budget", "EarlyStop", "Loss", "Part", "Recipe", "Schedule", "Spike", "ValidationMetric",
           "apply_overrides", "read_recipe"]


class Loss(Section):
    """Loss of one target, of ``forces`` or of ``stress``: weight · mean over labels of kind(residual).

    Targets are compared without references, mean and scale; forces and stress in eV/Å and eV/Å³.
    """

    kind: str = Field("l1", description="l1, l2, huber, or a plugin's")
    options: dict[str, Any] = Field({}, description="of a plugin's loss")
    weight: float = Field(1.0, ge=0)
    delta: float = Field(1.0, gt=0, description="where huber turns from square to linear")
    per_atom: bool = Field(False, description="divide the residual by the number of atoms")


class Batch(Section):
    """Largest numbers of molecules, atoms and directed edges in one optimiser step, over all ranks."""

    molecules: int | None = Field(None, ge=1)
    atoms: int | None = Field(None, ge=1)
    edges: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _some_limit(self) -> Batch:
        if self.molecules is None and self.atoms is None and self.edges is None:
            raise problem("needs a limit. Fix: give molecules, atoms or edges")
        return self

    def doubled(self) -> dict[str, int | None]:
        """Limits of a batch without a backward pass, which leaves room for more."""
        return {name: None if value is None else 2 * value for name, value in self.model_dump().items()}


class Schedule(Section):
    """Learning rate over the run: linear warm-up, then cosine to ``final``·lr, plateau, constant, or a plugin's."""

    kind: str = Field("cosine", description="cosine, plateau, constant, or a plugin's")
    options: dict[str, Any] = Field({}, description="of a plugin's schedule")
    warmup: int = Field(0, ge=0, description="steps")
    final: float = Field(0.0, ge=0, le=1, description="cosine: last rate as a fraction of lr; plateau: the floor")
    factor: float = Field(0.5, gt=0, lt=1, description="plateau: the rate is multiplied by this")
    patience: int = Field(5, ge=1, description="plateau: evaluations without improvement before that")


class Budget(Section):
    """When training ends: at the first of these limits."""

    epochs: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    hours: float | None = Field(None, gt=0, description="hours of training time; the schedule follows the clock")

    @model_validator(mode="after")
    def _some_end(self) -> Budget:
        if self.epochs is None and self.steps is None and self.hours is None:
            raise problem("needs an end. Fix: give epochs, steps or hours")
        return self


class EarlyStop(Section):
    metric: str = Field("loss", description="'loss', or '<target>.mae' of the validation set")
    patience: int = Field(20, ge=1, description="evaluations without improvement")
    min_delta: float = Field(0.0, ge=0)


class Spike(Section):
    """Steps with a loss above ``factor`` times the running mean are left out; ``limit`` in a row end the run."""

    factor: float = Field(10.0, gt=1)
    limit: int = Field(20, ge=1)


class Part(Section):
    """A plugin's part by its name, or by ``package.module:function``, with its options."""

    kind: str
    options: dict[str, Any] = {}


class ValidationMetric(Part):
    """A plugin's metric of the validation set: its mean over all labels of a target."""

    of: str = Field(description="the target, or forces or stress")


class Recipe(Section):
    """Everything that decides a training run, apart from model and data.

    Attributes:
        losses: per target name, and ``forces``, ``stress``; targets not named are trained with ``Loss()``.
        optimizer: ``adamw``; or ``soap``, which needs far fewer steps and some more time for each; or a plugin's, which
            takes ``lr``, ``weight_decay`` and its own ``optimizer_options``, not ``betas`` and ``eps``.
        transforms: plugins' changes of training batches, one after the other.
        metrics: plugins' metrics of the validation set, by the name that logs and ``early_stop`` use.
        stopping: a plugin's rule that ends the run after an evaluation, besides ``early_stop``.
        lr, betas, eps, weight_decay: of the optimiser; no decay on biases and other one-dimensional parameters.
            Betas are (0.9, 0.999) if not given, (0.95, 0.95) for soap.
        ema: decay of the averaged weights that are evaluated and shipped; ``None`` for none.
        clip_norm: largest global gradient norm; ``None`` for no clipping.
        accumulate: micro-batches per step: the batch is computed in so many parts, one after the other.
        eval_every: steps between evaluations on the validation set; ``None`` for once an epoch.
        eval_molecules: how many validation molecules are used during training; ``None`` for all.
        keep: number of latest checkpoints that are kept, besides the best.
        precision: ``float32`` | ``float64``: dtype of parameters and activations.
        autocast: ``bf16`` runs the network under autocast; forces are refused with it.
        tf32: lets CUDA matrix products round to TF32.
        compile: passes the backbone through ``torch.compile``.
        deterministic: sums of CUDA in a fixed order, so that runs can be repeated bitwise there; slower. A CPU does so
            anyway.
        freeze: patterns of parameter names that are not trained, e.g. ``backbone.*``.
        warm_start: name or path of the model whose weights training starts from (key ``from``).
        seed: of initial weights, order of molecules and all other random numbers.
    """

    losses: dict[str, Loss] = {}
    optimizer: str = "adamw"
    optimizer_options: dict[str, Any] = Field({}, description="of a plugin's optimiser")
    lr: float = Field(1e-3, gt=0)
    lr_scale: dict[str, float] = Field({}, description="parameter-name pattern -> factor on lr")
    betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Schedule = Schedule()
    budget: Budget = Budget(epochs=100)
    batch: Batch = Batch(molecules=64)
    accumulate: int = Field(1, ge=1)
    ema: float | None = Field(0.999, gt=0, lt=1)
    clip_norm: float | None = Field(10.0, gt=0)
    early_stop: EarlyStop | None = None
    transforms: list[Part] = []
    metrics: dict[str, ValidationMetric] = {}
    stopping: Part | None = None
    spike: Spike | None = None
    eval_every: int | None = Field(None, ge=1)
    eval_molecules: int | None = Field(None, ge=1)
    eval_batch: Batch | None = None
    keep: int = Field(2, ge=1)
    precision: Literal["float32", "float64"] = "float32"
    autocast: Literal["bf16"] | None = None
    tf32: bool = False
    compile: bool = False
    deterministic: bool = False
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = ()
    warm_start: str | None = Field(None, alias="from")
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _own_betas(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("optimizer") == "soap":
            return {"betas": (0.95, 0.95)} | data
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        derived = {"forces", "stress"} & self.losses.keys()
        if self.autocast and derived:
            raise problem("bf16 would make forces noisy. Fix: leave it out with forces or stress", "autocast")
        if self.compile and derived:
            raise problem("torch.compile does not trace the second derivatives that a loss on forces or stress needs. "
                          "Fix: leave it out", "compile")
        return self


def read_recipe(data: Mapping[str, Any], *, targets: Sequence[str], derivatives: Sequence[str] = ("forces", "stress"),
                document: Document | None = None) -> Recipe:
    """Check a card's recipe against the schema and the card's targets.

    Args:
        document: the card with the recipe, for file and line in errors.

    Raises:
        TrainingError: an unknown key (with the nearest known one), a wrong type, or a loss for no target; each problem
            with its line.
    """
    document = Document({"recipe": dict(data)}, source="<card>") if document is None else document
    try:
        recipe = Recipe.model_validate(dict(data))
    except ValidationError as error:
        raise TrainingError(explain(error, document, within=("recipe",))) from None
    known = [*targets, *derivatives]
    for name in recipe.losses:
        if name not in known:
            raise TrainingError(f"{document.where('recipe', 'losses', name)}: '{name}' is no target of this model"
                                f"{did_you_mean(name, known)} Fix: name one of {', '.join(known)}.")
    check_names(recipe, lambda *keys: document.where("recipe", *keys))
    measured = [*targets, *(d for d in derivatives if d in recipe.losses)]
    for name, metric in recipe.metrics.items():
        if metric.of not in measured:
            raise TrainingError(f"{document.where('recipe', 'metrics', name, 'of')}: '{metric.of}' is not trained on"
                                f"{did_you_mean(metric.of, measured)} Fix: name one of {', '.join(measured)}.")
        if name == "loss" or name.endswith(".mae"):
            raise TrainingError(f"{document.where('recipe', 'metrics', name)}: the zoo measures '{name}' itself. Fix: "
                                "choose another name.")
    if recipe.early_stop is not None:
        metrics = ["loss", *(f"{name}.mae" for name in measured), *recipe.metrics]
        rule = recipe.early_stop.metric
        if rule not in metrics:
            raise TrainingError(f"{document.where('recipe', 'early_stop', 'metric')}: '{rule}' is not measured"
                                f"{did_you_mean(rule, metrics)} Fix: name one of {', '.join(metrics)}.")
    return recipe


def apply_overrides(data: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A copy of a card's plain data with ``--set path=value`` applied.

    The path starts at a section of the card (``recipe``, ``config``, ``targets``, ``data``); ``training.`` means
    ``recipe.``, and a path that starts with no section is looked up in the recipe. Values are read as in a card.

    Raises:
        TrainingError: no ``=``, unknown section, or a value where a mapping is needed.
    """
    result = _deep_copy(data)
    sections = ("recipe", "config", "targets", "data")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise TrainingError(f"--set {assignment}: expected key=value. Fix: write it like --set training.lr=3e-4.")
        if keys[0] == "training":
            keys[0] = "recipe"
        if keys[0] in Recipe.model_fields or keys[0] == "from":
            keys.insert(0, "recipe")
        if keys[0] not in sections:
            known = [*sections, "training", *Recipe.model_fields]
            raise TrainingError(f"--set {assignment}: no section '{keys[0]}'{did_you_mean(keys[0], known)} "
                                f"Fix: start with {', '.join(sections)}, or a key of the recipe.")
        place = result
        for depth, key in enumerate(keys[:-1]):
            place = place.setdefault(key, {})
            if place is None or not isinstance(place, dict):
                raise TrainingError(f"--set {assignment}: {'.'.join(keys[:depth + 1])} is a value, not a mapping. "
                                    f"Fix: set {'.'.join(keys[:depth + 1])} itself.")
        place[keys[-1]] = _value(assignment, text)
    return result


def _value(assignment: str, text: str) -> Any:
    try:
        return parse_yaml(text).data
    except CardError as error:
        raise TrainingError(f"--set {assignment}: cannot read the value: {error} Fix: write it as in a card.") from None


def _deep_copy(value: Any) -> Any:
    return {k: _deep_copy(v) for k, v in value.items()} if isinstance(value, Mapping) else value
