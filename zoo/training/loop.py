"""The training loop, one for every family: plan the batch, cut it, forward, backward, step, average, look, save.

All randomness is a function of (seed, epoch); all state that decides what comes next is in the checkpoint. A run that
is killed and resumed therefore computes bitwise what an uninterrupted one does (same machine, threads and torch).
"""

from __future__ import annotations

import fnmatch
import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import cut, plan
from zoo.errors import TrainingError
from zoo.training.checkpoint import Checkpoints, DiskFullError
from zoo.training.criterion import Criterion
from zoo.training.distributed import Ranks
from zoo.training.ema import Average
from zoo.training.log import Log
from zoo.training.recipe import Batch, Recipe
from zoo.training.schedule import Clock, Plateau, learning_rate

if TYPE_CHECKING:
    from zoo.data import Store
    from zoo.model import Model

__all__ = ["Outcome", "Trainer"]

_LOG_EVERY = 50
_SAVE_SECONDS = 600.0


@dataclass
class Progress:
    """Counters of a run; all of them are in the checkpoint."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    """batches of this epoch that are done"""
    best: float = math.inf
    best_step: int | None = None
    waited: int = 0
    typical_loss: float = 0.0
    skipped: int = 0
    skipped_in_a_row: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    best_metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``reason`` is ``budget``, ``early stop``, ``signal`` or ``steps`` (a dry run)."""

    reason: str
    progress: Progress
    seconds: float


class Trainer:
    """Everything one run needs, and the loop over it.

    Args:
        model: with its constants fitted; trained in place. At the end it holds the averaged weights of the best step.
        store: training and validation data, with edges, on the device of ``ranks``.
        rows: ``train`` and ``val``, rows of the store.
        recipe: the checked recipe.
        folder: of the run; checkpoints and ``metrics.jsonl`` go there.
        ranks: this process among its equals.
        machine: what bitwise resume depends on; kept in the checkpoint.
        identity: of model and data (JSON-able); a checkpoint of another one is refused.
        where: the command that resumes this run, told when it is interrupted.
    """

    def __init__(self, model: Model, store: Store, rows: Mapping[str, Tensor], recipe: Recipe, *, folder: Path,
                 ranks: Ranks, machine: Mapping[str, Any], identity: Mapping[str, Any], where: str = "--resume", quiet: bool = False) -> None:
        self.model, self.store, self.recipe, self.ranks = model, store, recipe, ranks
        self.folder, self.machine, self.identity = folder, dict(machine), dict(identity)
        self.train_rows, self.val_rows = rows["train"].numpy(), rows["val"].numpy()
        if recipe.eval_molecules is not None:
            self.val_rows = self.val_rows[:: max(1, len(self.val_rows) // recipe.eval_molecules)]
        self.dtype = getattr(torch, recipe.precision)
        self.criterion = Criterion(model, store, recipe.losses, dtype=self.dtype)
        self.sizes = {"atoms": store.n_atoms.cpu().numpy(), "edges": store.n_edges.cpu().numpy()}
        self.net = ranks.wrap(model)
        self.optimizer = make_optimizer(model, recipe)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = Average(model, recipe.ema) if recipe.ema else None
        self.progress, self.plateau = Progress(), Plateau()
        self.batches_per_epoch = len(self._plan(0))
        self.clock = Clock.of(recipe.budget, self.batches_per_epoch)
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=recipe.keep)
        self._quiet, self._signal, self._where = quiet, False, where

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self, *, resume: bool = False, max_steps: int | None = None) -> Outcome:
        """Train until the budget is spent, early stopping, or a signal.

        Raises:
            TrainingError: the loss or a gradient is not finite (the batch is named), or a checkpoint does not fit.
        """
        resumed = self._resume() if resume else None
        self.log = Log(self.folder, active=self.ranks.first, resumed_step=resumed, units=self.model.units,
                       quiet=self._quiet)
        self.log.record("start", step=self.progress.step, parameters=self.model.num_parameters,
                        train=len(self.train_rows), val=len(self.val_rows), **self.machine)
        self.log.start()
        with _signals(self):
            try:
                reason = self._loop(max_steps)
            finally:
                self.log.close()
        return Outcome(reason, self.progress, self.clock.seconds)

    def _loop(self, max_steps: int | None) -> str:
        state, every = self.progress, self.recipe.eval_every
        losses, molecules, since, saved = [], 0, time.monotonic(), time.monotonic()
        batches = self._plan(state.epoch)
        while not self.clock.finished(state.step):
            if max_steps is not None and state.step >= max_steps:
                return "steps"
            if state.place >= len(batches):
                state.epoch, state.place = state.epoch + 1, 0
                batches = self._plan(state.epoch)
            began = time.monotonic()
            batch = batches[state.place]
            state.place += 1
            loss, seconds, stop = self._step(batch, began)
            state.step += 1
            losses.append(loss)
            molecules += len(batch)
            due = state.step % every == 0 if every else state.place == len(batches)
            self.clock.tick(state.step, seconds, evaluated=False)
            if state.step % _LOG_EVERY == 0:
                spent = max(time.monotonic() - since, 1e-9)
                self._report(float(np.mean(losses)), molecules / spent)
                losses, molecules, since = [], 0, time.monotonic()
            if due and self._evaluate():
                self._save()
                return "early stop"
            if due or stop or time.monotonic() - saved > _SAVE_SECONDS:
                self._save()
                saved = time.monotonic()
            if due:
                since, molecules, losses = time.monotonic(), 0, []
            if stop:
                self.log.say(f"stopped by a signal at step {state.step:,}; resume with: {self._where}")
                return "signal"
        if self.progress.metrics.get("step") != state.step:
            self._evaluate()
        self._save()
        return "budget"

    def _step(self, batch: np.ndarray, began: float) -> tuple[float, float, bool]:
        """One optimiser step on a global batch; returns the loss, the mean seconds of the ranks, and whether to stop."""
        state, recipe = self.progress, self.recipe
        self._set_rate()
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        counts = self.criterion.counts(torch.from_numpy(batch))
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        micro = self._shares(batch)
        for index, (share, weight) in enumerate(micro):
            rows = torch.from_numpy(share)
            with self.ranks.accumulate(self.net, last=index == len(micro) - 1):
                outputs = self._forward(rows)
                loss = weight * self.criterion.loss(outputs, rows, counts)
                # DDP averages gradients over ranks; the loss is already a share of the global mean.
                (loss * self.ranks.world).backward()
            total += loss.detach()
        self._norm = norm = self._clip()
        sums = self.ranks.sum(torch.tensor([float(total), float(self._signal), time.monotonic() - began],
                                           dtype=torch.float64, device=self.ranks.device)).tolist()
        loss, stop, seconds = sums[0], sums[1] > 0, sums[2] / self.ranks.world
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._fail(batch, loss, norm)
        if self._is_spike(loss):
            state.skipped, state.skipped_in_a_row = state.skipped + 1, state.skipped_in_a_row + 1
            self.log.record("skip", step=state.step, loss=loss, typical=state.typical_loss)
            if state.skipped_in_a_row >= recipe.spike.limit:
                raise TrainingError(f"{state.skipped_in_a_row} steps in a row had a loss above {recipe.spike.factor} "
                                    f"times the usual {state.typical_loss:.4g}: the run has diverged; lower lr")
            return loss, seconds, stop
        state.skipped_in_a_row = 0
        state.typical_loss = loss if state.typical_loss == 0 else 0.99 * state.typical_loss + 0.01 * loss
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return loss, seconds, stop

    # -- parts of a step ---------------------------------------------------------------------------------------

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return plan(self.train_rows, self.sizes, self.recipe.batch.model_dump(), seed=self.recipe.seed, epoch=epoch)

    def _shares(self, batch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """This rank's micro-batches with their weight; where there is none, one molecule that counts 0."""
        parts = cut(batch, self._cost(batch), self.ranks.world * self.recipe.accumulate)
        own = parts[self.ranks.rank * self.recipe.accumulate:(self.ranks.rank + 1) * self.recipe.accumulate]
        return [(share, 1.0) for share in own if len(share)] or [(batch[:1], 0.0)]

    def _cost(self, rows: np.ndarray) -> np.ndarray:
        return self.sizes["edges"][rows] + self.sizes["atoms"][rows]

    def _forward(self, rows: Tensor) -> dict[str, Tensor]:
        graph = self.store.graph(rows, dtype=self.dtype)
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.recipe.autocast == "bf16"):
            return self.net(graph, self.criterion.derivatives, standardised=True)

    def _set_rate(self) -> None:
        state = self.progress
        for group, base in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = learning_rate(self.recipe.schedule, base, step=state.step, plateau=self.plateau.scale,
                                        progress=self.clock.progress(state.step))

    def _clip(self) -> float:
        """Global gradient norm before clipping; the same on every rank."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grads_with_norm_([p for p in self.model.parameters() if p.grad is not None],
                                           self.recipe.clip_norm, norm)
        return float(norm)

    def _is_spike(self, loss: float) -> bool:
        spike, typical = self.recipe.spike, self.progress.typical_loss
        return spike is not None and typical > 0 and loss > spike.factor * typical

    def _fail(self, batch: np.ndarray, loss: float, norm: float) -> None:
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {norm}"
        ids = self.store.ids[torch.from_numpy(batch)].tolist()
        shown = ", ".join(map(str, ids[:64])) + (f", … ({len(ids)} in all)" if len(ids) > 64 else "")
        steps = self.checkpoints.steps()
        kept = f"The checkpoint of step {steps[-1]} is good" if steps else "No checkpoint was written yet"
        self.log.record("failed", step=self.progress.step, loss=loss, gradient_norm=norm, ids=ids)
        raise TrainingError(f"{what} is not finite at step {self.progress.step}, in the batch with ids {shown}. "
                            f"{kept}; lower lr or clip_norm, or leave those structures out")

    # -- looking -----------------------------------------------------------------------------------------------

    def evaluate_rows(self, rows: np.ndarray) -> dict[str, float]:
        """Loss and MAE over rows of the store, with the weights that the model holds now."""
        limits = self.recipe.eval_batch.model_dump() if self.recipe.eval_batch else doubled(self.recipe.batch)
        sums = torch.zeros(3 * len(self.criterion.metric_names), dtype=torch.float64, device=self.ranks.device)
        self.model.eval()
        batches = plan(rows, self.sizes, limits)
        with torch.no_grad():
            for batch in batches[self.ranks.rank::self.ranks.world]:
                part = torch.from_numpy(batch)
                graph = self.store.graph(part, dtype=self.dtype)
                outputs = self.model(graph, self.criterion.derivatives, standardised=True)
                sums += self.criterion.errors(outputs, part)
        return self.criterion.metrics(self.ranks.sum(sums))

    def _evaluate(self) -> bool:
        """Validate the averaged weights; True when early stopping says so."""
        state, began = self.progress, time.monotonic()
        if self.average is not None:
            with self.average.applied():
                metrics = self.evaluate_rows(self.val_rows)
        else:
            metrics = self.evaluate_rows(self.val_rows)
        spent = self.ranks.sum(torch.tensor([time.monotonic() - began], dtype=torch.float64,
                                            device=self.ranks.device)).item() / self.ranks.world
        stop_rule = self.recipe.early_stop
        watched = metrics.get(stop_rule.metric if stop_rule else "loss", math.inf)
        better = watched < state.best - (stop_rule.min_delta if stop_rule else 0.0)
        if better or state.best_step is None:
            state.best, state.best_step, state.waited = watched, state.step, 0
        else:
            state.waited += 1
        state.metrics = {"step": state.step, **metrics}
        if state.best_step == state.step:
            state.best_metrics = dict(metrics)
        self.plateau.update(metrics["loss"], self.recipe.schedule)
        self.clock.tick(state.step, spent, evaluated=True)
        self.log.record("evaluate", step=state.step, epoch=self.epochs_done, seconds=self.clock.seconds, **metrics)
        self.log.evaluation(state.step, metrics, better=better)
        return stop_rule is not None and state.waited >= stop_rule.patience

    def _report(self, loss: float, rate: float) -> None:
        state = self.progress
        remaining = self.clock.remaining_seconds(state.step)
        self.log.record("log", step=state.step, epoch=self.epochs_done, loss=loss, rate=rate,
                        gradient_norm=self._norm,
                        lr=self.optimizer.param_groups[0]["lr"], seconds=self.clock.seconds, remaining=remaining)
        self.log.progress(self.clock.progress(state.step), step=state.step, loss=loss, rate=rate, remaining=remaining)

    @property
    def epochs_done(self) -> float:
        return round(self.progress.epoch + self.progress.place / self.batches_per_epoch, 3)

    # -- keeping -----------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if not self.ranks.first:
            return
        state = self.progress
        try:
            self.checkpoints.write(
                state.step, self.model.state_dict(), None if self.average is None else self.average.state(),
                {"optimizer": self.optimizer.state_dict(), "progress": vars(state).copy(),
                 "clock": self.clock.state(), "plateau": self.plateau.state(),
                 "ema_updates": 0 if self.average is None else self.average.updates,
                 "machine": self.machine, "identity": self.identity,
                 "recipe": self.recipe.model_dump_json(by_alias=True)},
                best=state.best_step)
            self.log.record("checkpoint", step=state.step)
        except DiskFullError as error:
            self.log.say(f"warning: {error}")
            self.log.record("disk full", step=state.step)

    def _resume(self) -> int:
        """Go on from the last checkpoint; returns its step."""
        steps = self.checkpoints.steps()
        if not steps:
            raise TrainingError(f"nothing to resume: there is no checkpoint in {self.checkpoints.folder}")
        model, average, saved = self.checkpoints.read(steps[-1])
        self._check_fits(saved)
        self.model.load_state_dict(model, strict=True)
        if self.average is not None and average is not None:
            self.average.load(average, saved["ema_updates"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.progress = Progress(**saved["progress"])
        self.plateau = Plateau(**saved["plateau"])
        ends = {"total_steps": self.clock.total_steps, "hours": self.clock.hours}
        self.clock = Clock(**(saved["clock"] | ends))
        return steps[-1]

    def _check_fits(self, saved: Mapping[str, Any]) -> None:
        for key, value in self.identity.items():
            if saved["identity"].get(key) != value:
                raise TrainingError(f"the checkpoint was made with another {key}: {saved['identity'].get(key)!r}, now "
                                    f"{value!r}. Resume with the same card and data, or train into a new folder")
        for key, value in self.machine.items():
            if saved["machine"].get(key) != value and self.ranks.first and not self._quiet:
                print(f"note: {key} was {saved['machine'].get(key)} and is {value} now: the run goes on, but not "
                      "bitwise as it would have")

    def load_best(self) -> None:
        """Put the averaged weights of the best evaluated step into the model."""
        model, average, _ = self.checkpoints.read(self.progress.best_step)
        self.model.load_state_dict(model | (average or {}), strict=True)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW over the parameters that are trained; matrices decay, biases and other vectors do not.

    Raises:
        TrainingError: everything is frozen, or a pattern fits no parameter.
    """
    named = dict(model.named_parameters())
    for pattern in recipe.freeze:
        for name in _matching(pattern, named, "freeze"):
            named[name].requires_grad_(False)
    factors = dict.fromkeys(named, 1.0)
    for pattern, factor in recipe.lr_scale.items():
        factors |= dict.fromkeys(_matching(pattern, named, "lr_scale"), factor)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((recipe.lr * factors[name], decay), []).append(parameter)
    if not groups:
        raise TrainingError(f"nothing is left to train: freeze={list(recipe.freeze)} covers every parameter")
    settings = [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
    device = next(iter(named.values())).device.type
    return torch.optim.AdamW(settings, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=device in ("cpu", "cuda"))


def _matching(pattern: str, names: Mapping[str, Any], key: str) -> Sequence[str]:
    found = fnmatch.filter(names, pattern)
    if not found:
        some = ", ".join(list(names)[:6])
        raise TrainingError(f"recipe.{key}: no parameter is called {pattern!r}; names are like {some}, …")
    return found


def doubled(batch: Batch) -> dict[str, int | None]:
    """Limits of a batch without a backward pass, which leaves room for more."""
    return {name: None if value is None else 2 * value for name, value in batch.model_dump().items()}


class _signals:
    """SIGTERM and SIGUSR1 (a scheduler's warning) end the run at the next step, with a checkpoint."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]

    def __enter__(self) -> None:
        def note(number: int, frame: Any) -> None:
            self.trainer._signal = True

        try:
            self.before = {s: signal.signal(s, note) for s in self.wanted}
        except ValueError:  # not in the main thread: whoever runs us takes care of signals
            self.before = {}

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
