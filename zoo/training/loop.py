"""The training loop, one for every family: plan a batch, forward, backward, step, average, evaluate, checkpoint.

Random numbers depend only on (seed, epoch, step), and all other state is in the checkpoint. So a run that is killed and
resumed gives bitwise the same results as an uninterrupted one (on the same machine, with the same threads and torch).
The file is long because :class:`Trainer` is one object: its attributes are the state that a checkpoint stores.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.batches import cut, plan
from zoo.errors import TrainingError
from zoo.process.memory import halved_on_out_of_memory, is_out_of_memory
from zoo.process.signals import Notice, watched
from zoo.process.transfer import sent
from zoo.registry.discovery import BUILTIN_PARTS
from zoo.training import parts
from zoo.training.checkpoint import Checkpoints, DiskFullError
from zoo.training.criterion import Criterion
from zoo.training.distributed import Ranks, freeze_unused
from zoo.training.divergence import clip_gradients, is_spike, not_finite, validation_not_finite
from zoo.training.ema import Average
from zoo.training.log import Log
from zoo.training.optimizer import make_optimizer
from zoo.training.prefetcher import Prefetcher
from zoo.training.progress import Progress
from zoo.training.recipe import Recipe
from zoo.training.schedule import Clock, Plateau, learning_rate
from zoo.training.state import capture, restore
from zoo.training.transforms import Transforms

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.model.model import Model

__all__ = ["Outcome", "Trainer"]

_LOG_EVERY = 50
_SAVE_SECONDS = 600.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``reason`` is ``budget``, ``early stop`` or ``signal``."""

    reason: str
    progress: Progress
    seconds: float


class Trainer:
    """The state of one run, and the loop.

    Args:
        model: with its constants fitted; trained in place.
        store: training and validation data, with edges.
        rows: ``train`` and ``val``, rows of the store.
        recipe: the checked recipe.
        folder: of the run; checkpoints and ``metrics.jsonl`` go there.
        ranks: this process among those of the job.
        machine: properties that bitwise resume depends on; stored in the checkpoint.
        identity: of model and data (JSON-able); a checkpoint of another one is refused.
        where: the command that resumes this run, named in the message when it is interrupted.
    """

    def __init__(self, model: Model, store: Store, rows: Mapping[str, Tensor], recipe: Recipe, *, folder: Path,
                 ranks: Ranks, machine: Mapping[str, Any], identity: Mapping[str, Any], where: str = "--resume",
                 quiet: bool = False) -> None:
        self.model, self.store, self.recipe, self.ranks = model, store, recipe, ranks
        self.folder, self.machine, self.identity = folder, dict(machine), dict(identity)
        self.train_rows, self.val_rows = rows["train"].numpy(), rows["val"].numpy()
        if recipe.eval_molecules is not None:
            self.val_rows = self.val_rows[:: max(1, len(self.val_rows) // recipe.eval_molecules)]
        self.dtype = getattr(torch, recipe.precision)
        self.criterion = Criterion(model, store, recipe.losses, dtype=self.dtype, device=ranks.device,
                                   metrics=recipe.metrics)
        self.sizes = {"atoms": store.n_atoms.cpu().numpy(), "edges": store.n_edges.cpu().numpy()}
        self.prefetcher = Prefetcher(store, self.dtype, ranks.device)
        self.progress, self.plateau = Progress(), Plateau()
        self.batches_per_epoch = len(self.plan(0))
        self.clock = Clock.of(recipe.budget, self.batches_per_epoch)
        self.optimizer = make_optimizer(model, recipe)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        schedule, stopping = recipe.schedule, recipe.stopping
        own = schedule.kind not in BUILTIN_PARTS["schedule"]
        self.factor = parts.make("schedule", schedule.kind, schedule.options) if own else None
        self.stopping = None if stopping is None else parts.make("stopping", stopping.kind, stopping.options)
        self.transforms = Transforms(recipe.transforms, recipe.seed)
        self.average = Average(model, recipe.ema) if recipe.ema else None
        if ranks.world > 1:
            freeze_unused(model, self._loss_of_largest())
        self.net = ranks.wrap(model)
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=recipe.keep)
        self.notice, self.quiet, self.where = Notice(), quiet, where
        self.log = Log(folder, active=False)
        self.norm, self.last_time = 0.0, time.monotonic()

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self, *, resume: bool = False) -> Outcome:
        """Train until the budget is used up, early stopping, or a signal.

        Raises:
            TrainingError: the loss or a gradient is not finite (the batch is named), or a checkpoint does not fit.
        """
        with watched() as self.notice:
            resumed = self._resume() if resume else None
            self.log = Log(self.folder, active=self.ranks.first, resumed_step=resumed, units=self.model.units,
                           quiet=self.quiet)
            self.log.record("start", step=self.progress.step, parameters=self.model.num_parameters,
                            train=len(self.train_rows), val=len(self.val_rows), **self.machine)
            self.log.start()
            try:
                with self.ranks.together():
                    reason = self._loop()
            finally:
                self.log.record("end", step=self.progress.step, seconds=self.clock.seconds)
                self.log.close()
                self.prefetcher.close()
                # The DDP wrapper must not outlive its process group.
                self.net = self.model
        return Outcome(reason, self.progress, self.clock.seconds)

    def _loop(self) -> str:
        state, every = self.progress, self.recipe.eval_every
        losses, molecules, since, saved = [], 0, time.monotonic(), time.monotonic()
        batches = self.plan(state.epoch)
        self.last_time = time.monotonic()
        while not self.clock.finished(state.step):
            if state.place >= len(batches):
                state.epoch, state.place = state.epoch + 1, 0
                batches = self.plan(state.epoch)
            batch, state.place = batches[state.place], state.place + 1
            loss, seconds, stop = self._step(batch, following=batches[state.place:state.place + 1])
            state.step += 1
            losses.append(loss)
            molecules += len(batch)
            self.clock.tick(state.step, seconds, evaluated=False)
            if state.step % _LOG_EVERY == 0:
                self._report(float(np.mean(losses)), molecules / max(time.monotonic() - since, 1e-9))
                losses, molecules, since = [], 0, time.monotonic()
            due = state.step % every == 0 if every else state.place == len(batches)
            early = due and self._evaluate()
            if due or stop or time.monotonic() - saved > _SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
            if early:
                return "early stop"
            if stop:
                self.log.message(f"stopped by a signal at step {state.step:,}; resume with: {self.where}")
                return "signal"
            if due:
                losses, molecules, since = [], 0, time.monotonic()
        if state.evaluated != state.step:
            self._evaluate()
        self.save()
        return "budget"

    def _step(self, batch: np.ndarray, following: list[np.ndarray] | None = None) -> tuple[float, float, bool]:
        """One optimiser step on a global batch: its loss, the mean seconds of the ranks, and whether to stop.

        The seconds are those since the last step or evaluation was timed. The ranks average them together with the
        loss, before the optimiser's step: its time, and that of a checkpoint, count in the next step.
        """
        state = self.progress
        self._set_rate()
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        counts = self.criterion.counts(torch.from_numpy(batch))
        total = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        shares = self._shares(batch)
        for index, (share, weight) in enumerate(shares):
            with self.ranks.accumulate(self.net, last=index == len(shares) - 1), self._fits(share):
                loss = weight * self.criterion.loss(self._forward(share), torch.from_numpy(share), counts)
                if index + 1 < len(shares):
                    self.prefetcher.ahead(shares[index + 1][0])
                elif following:
                    self.prefetcher.ahead(self._shares(following[0])[0][0])
                # DDP averages gradients over ranks; the loss is already a share of the global mean.
                (loss * self.ranks.world).backward()
            total += loss.detach()
        mean, stop, seconds = self._shared(total, clip_gradients(self.model, self.recipe.clip_norm))
        if not (math.isfinite(mean) and math.isfinite(self.norm)):
            ids = self.store.ids[torch.from_numpy(batch)].tolist()
            self.log.record("failed", step=state.step, loss=mean, gradient_norm=self.norm, ids=ids)
            raise not_finite(mean, self.norm, ids=ids, step=state.step, kept=self.checkpoints.steps())
        if is_spike(mean, state, self.recipe.spike, self.log):
            return mean, seconds, stop
        state.typical_loss = mean if state.typical_loss == 0 else 0.99 * state.typical_loss + 0.01 * mean
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return mean, seconds, stop

    # -- parts of a step ---------------------------------------------------------------------------------------

    def _shared(self, loss: Tensor, norm: Tensor) -> tuple[float, bool, float]:
        """Loss, whether to stop, and mean seconds, over all ranks; the one time in a step that the host waits."""
        own = torch.tensor([float(self.notice.received), self._seconds_since_last()], dtype=torch.float64)
        sums = self.ranks.sum(torch.cat([loss.view(1), sent(own, loss.device)]))
        total, stop, seconds, self.norm = torch.cat([sums, norm.double().view(1)]).tolist()
        return total, stop > 0, seconds / self.ranks.world

    def _seconds_since_last(self) -> float:
        """Seconds since the last call, or since the loop began."""
        before, self.last_time = self.last_time, time.monotonic()
        return self.last_time - before

    def plan(self, epoch: int) -> list[np.ndarray]:
        """Global batches of an epoch."""
        return plan(self.train_rows, self.sizes, self.recipe.batch.model_dump(), seed=self.recipe.seed, epoch=epoch)

    def cost(self, rows: np.ndarray) -> np.ndarray:
        """(n,) edges + atoms of each row, a measure of its cost."""
        return self.sizes["edges"][rows] + self.sizes["atoms"][rows]

    def _shares(self, batch: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """This rank's micro-batches with their weights; if it has none, one molecule with weight 0."""
        count = self.recipe.accumulate
        parts = cut(batch, self.cost(batch), self.ranks.world * count)
        own = parts[self.ranks.rank * count:(self.ranks.rank + 1) * count]
        return [(share, 1.0) for share in own if len(share)] or [(batch[:1], 0.0)]

    def _forward(self, rows: np.ndarray) -> dict[str, Tensor]:
        try:
            with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.recipe.autocast == "bf16"):
                graph = self.transforms(self.prefetcher(rows), self.progress.step, int(rows[0]))
                return self.net(graph, self.criterion.derivatives, standardised=True, partial_stress=True)
        except (MemoryError, RuntimeError) as error:
            if self.recipe.autocast and not is_out_of_memory(error):
                raise TrainingError(f"the network cannot run in bfloat16: {error}. Fix: leave out "
                                    "recipe.autocast") from error
            raise

    @contextmanager
    def _fits(self, rows: np.ndarray) -> Iterator[None]:
        """Forward and backward of these rows; running out of memory is reported with their size and what helps."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(f"{len(rows)} molecules with {int(self.cost(rows).sum()):,} edges and atoms do not fit "
                                f"into the memory of {self.ranks.device}. Fix: --set recipe.accumulate="
                                f"{2 * self.recipe.accumulate} takes the same steps in smaller parts") from error

    def _loss_of_largest(self) -> Tensor:
        """Loss of the four largest structures of the training data."""
        rows = self.train_rows[np.argsort(-self.cost(self.train_rows), kind="stable")[:4]]
        part = torch.from_numpy(rows)
        self.model.train()
        outputs = self.model(self.prefetcher(rows), self.criterion.derivatives, standardised=True, partial_stress=True)
        return self.criterion.loss(outputs, part, self.criterion.counts(part))

    def _set_rate(self) -> None:
        state = self.progress
        for group, base in zip(self.optimizer.param_groups, self.base_rates):
            group["lr"] = learning_rate(self.recipe.schedule, base, step=state.step, plateau=self.plateau.scale,
                                        progress=self.clock.progress(state.step), factor=self.factor)

    # -- validation -----------------------------------------------------------------------------------------------

    def evaluate_rows(self, rows: np.ndarray) -> dict[str, float]:
        """Loss and MAE over rows of the store, with the weights that the model holds now."""
        limits = self.recipe.eval_batch.model_dump() if self.recipe.eval_batch else self.recipe.batch.doubled()
        sums = torch.zeros(self.criterion.num_sums, dtype=torch.float64, device=self.ranks.device)

        def errors(part: np.ndarray) -> Tensor:
            outputs = self.model(self.prefetcher(part), self.criterion.derivatives, standardised=True,
                                 partial_stress=True)
            return self.criterion.errors(outputs, torch.from_numpy(part))

        self.model.eval()
        with torch.no_grad():
            for batch in plan(rows, self.sizes, limits)[self.ranks.rank::self.ranks.world]:
                for _, errors_of_part in halved_on_out_of_memory(errors, batch):
                    sums += errors_of_part
        return self.criterion.metrics(self.ranks.sum(sums))

    def _evaluate(self) -> bool:
        """Validate the averaged weights; True when early stopping ends the run."""
        state, rule = self.progress, self.recipe.early_stop
        with self.average.applied() if self.average is not None else nullcontext():
            metrics = self.evaluate_rows(self.val_rows)
            if not math.isfinite(metrics["loss"]):
                self.log.record("failed", step=state.step, loss=metrics["loss"])
                raise validation_not_finite(metrics["loss"], self.model, step=state.step, kept=self.checkpoints.steps())
        seconds = torch.tensor([self._seconds_since_last()], dtype=torch.float64, device=self.ranks.device)
        self.clock.tick(state.step, float(self.ranks.sum(seconds)) / self.ranks.world, evaluated=True)
        watched_value = metrics[rule.metric if rule else "loss"]
        better = state.best_step is None or watched_value < state.best - (rule.min_delta if rule else 0.0)
        if better:
            state.best, state.best_step, state.best_metrics, state.waited = watched_value, state.step, metrics, 0
        else:
            state.waited += 1
        state.evaluated = state.step
        self.plateau.update(metrics["loss"], self.recipe.schedule)
        self.log.record("evaluate", step=state.step, epoch=self.epochs_done, seconds=self.clock.seconds, **metrics)
        self.log.evaluation(state.step, metrics, better=better)
        if self.stopping is not None:
            state.history.append({"step": state.step, **metrics})
            if self.stopping(history=state.history):
                return True
        return rule is not None and state.waited >= rule.patience

    def _report(self, loss: float, rate: float) -> None:
        state = self.progress
        remaining = self.clock.remaining_seconds(state.step)
        self.log.record("log", step=state.step, epoch=self.epochs_done, loss=loss, rate=rate, gradient_norm=self.norm,
                        lr=self.optimizer.param_groups[0]["lr"], seconds=self.clock.seconds, remaining=remaining)
        self.log.progress(self.clock.progress(state.step), step=state.step, loss=loss, rate=rate, remaining=remaining)

    @property
    def epochs_done(self) -> float:
        return round(self.progress.epoch + self.progress.place / self.batches_per_epoch, 3)

    def message(self, text: str) -> None:
        """Print one line, on the first rank only."""
        if self.ranks.first and not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def try_steps(self, batch: np.ndarray, count: int) -> list[str]:
        """Optimiser steps on one batch, for a dry run; returns the trained parameters that got no gradient."""
        for _ in range(count):
            self._step(batch)
            self.progress.step += 1
        return [name for name, p in self.model.named_parameters() if p.requires_grad and p.grad is None]

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint; a full disk is reported, and the run goes on."""
        if not self.ranks.first:
            return
        try:
            average = self.average.state() if self.average is not None else None
            self.checkpoints.write(self.progress.step, self.model.state_dict(), average, capture(self),
                                   best=self.progress.best_step)
            self.log.record("checkpoint", step=self.progress.step)
        except DiskFullError as error:
            self.message(f"warning: {error}")
            self.log.record("disk full", step=self.progress.step)

    def _resume(self) -> int:
        """Continue from the last checkpoint; returns its step."""
        steps = self.checkpoints.steps()
        if not steps:
            raise TrainingError(f"nothing to resume: there is no checkpoint in {self.checkpoints.folder}. Fix: leave "
                                "out --resume, or name the folder of the run with --out")
        restore(self, steps[-1])
        return steps[-1]

    def load_best(self) -> None:
        """Put the averaged weights of the best evaluated step into the model."""
        assert self.progress.best_step is not None  # every run has an evaluation
        model, average, _ = self.checkpoints.read(self.progress.best_step)
        self.model.load_state_dict(model | (average or {}), strict=True)
