"""The training loop: stage after stage, data-parallel, and nothing known of who launched it.

A stage begins with least squares of what is linear, and with coordinates in which its loss is
round; an optimizer walks in them. The last stage ends with least squares again. A stage that
diverges goes back to its last good epoch with a smaller learning rate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..mtp.model import MTP
from . import checkpoint
from .batches import WeightedSet, n_batches, permutation, refuse_unknown_groups
from .calibration import calibrated, weighted_losses
from .checkpoint import Checkpoint, Progress
from .committee import mean_of
from .context import Structures, WorkerContext
from .loss import LABELS, figures, sums
from .opening import WALKS, Opening, Walk
from .options import refuse_contradiction
from .plan import Plan
from .record import Journal, Record
from .schedule import rate_factor
from .update import gradient
from .varpro import VariableProjection

if TYPE_CHECKING:
    from ..config import Stage

DIVERGED = 10.0
"""A loss beyond this factor of the stage's best is a divergence."""

ROLLBACKS, ROLLBACK_FACTOR = 5, 0.3
"""How often a stage may go back, and what its learning rate is multiplied by."""


class Loop:
    """A run on one of the workers. `model` is replaced where a checkpoint is found."""

    def __init__(
        self,
        plan: Plan,
        model: MTP,
        sets: Mapping[str, Structures],
        context: WorkerContext,
        journal: Journal,
    ) -> None:
        self.plan, self.model, self.context = plan, model, context
        self.record = Record(journal, context.rank)
        weights = plan.options.group_weights
        refuse_unknown_groups(weights, sets.values())
        tunes = bool(model.readout.moment_coeffs.any())  # begins at a potential
        refuse_contradiction(plan.options, plan.stages, model.widths, tunes)
        self.train = WeightedSet.of(sets["train"], weights)
        self.test = WeightedSet.of(sets["test"], weights)
        self.progress = Progress()
        self.opening = Opening(plan, self.train, context, tunes, self._write)
        self.walk: Walk | None = None
        self.kept: dict[str, dict] = {}  # states of the walk to go back to
        self.members: list[dict] = []  # parameters of those of a committee that are finished
        self.saved_at = time.monotonic()

    def run(self) -> MTP:
        """Train all stages that are left, and return the potential."""
        found = checkpoint.newest_of_all(self.plan.folder, self.context)
        if found:
            self._resume(found)
        else:
            self.record.truncate(0)
            self._write("start", total_epochs=sum(s.epochs for s in self.plan.stages))
        while self.progress.stage < len(self.plan.stages):
            self._stage()
        self._end()
        return self.model

    def _stage(self) -> None:
        stage = self.plan.stages[self.progress.stage]
        if self._coefficients(stage) is None:
            self._calibrate()
        coefficients = self._coefficients(stage)
        if self.walk is None:
            self._begin(stage, coefficients)
        while self.progress.epoch < stage.epochs and not self.progress.stopped:
            self._epoch(stage, coefficients)
        self._finish(stage, coefficients)

    def _begin(self, stage: Stage, coefficients: Mapping[str, float]) -> None:
        first = self._begins_member()
        if first and stage.member:
            self.progress.coefficients = None  # of its own calibration
        self.walk = self.opening.walk(self.model, stage, coefficients, first)
        for name in ("good", "last"):
            self._keep(name)
        self.progress.began(self._figures(self.train, coefficients, stage.loss))

    def _epoch(self, stage: Stage, coefficients: Mapping[str, float]) -> None:
        began = time.monotonic()
        if isinstance(self.walk, VariableProjection):
            total = self.walk.iterate(self.model, self.train, coefficients, self.context)
            if total is None:
                return self._stop(self.walk.ended, stage, self.walk.taken_back)
            rate = self.walk.method.length
        else:
            total = self._updates(stage, coefficients)
            rate = self._rate(stage, self.progress.batch - 1)
        labels = self.train.labels(self.train.everything)
        found = figures(total, labels, coefficients, stage.loss)
        if self._diverged(found["loss"]):
            return self._roll_back(stage)
        self.progress.next_epoch(found)
        self.kept["good"] = self.kept["last"]  # its loss is known, that of the end is not yet
        self._keep("last")
        test = self._figures(self.test, coefficients, stage.loss)
        self._write(
            "epoch",
            stage=stage.name,
            stage_index=self.progress.stage,
            epoch=self.progress.epoch,
            seconds=time.monotonic() - began,
            lr=rate,
            train=found,
            test=test,
        )
        self._watch(stage, test["loss"])

    def _updates(self, stage: Stage, coefficients: Mapping[str, float]) -> Tensor:
        """The batches of an epoch that are left; the sums (3, 4) of all of it, not finite where the
        stage has diverged.
        """
        seed = self.plan.seed + stage.member
        order = permutation(len(self.train), seed, self.progress.step + 1)
        first = self.progress.batch
        for share in self.train.shares(order, self.plan.batch_size, self.context, first):
            found, total = gradient(self.model, share, coefficients, stage.loss, self.context)
            self.progress.sums = self.progress.sums + total
            if not bool(total.isfinite().all()):
                break
            self.walk.step(self.model, found, self._rate(stage, self.progress.batch))
            self.progress.batch += 1
            self._save_if_due()
        return self.progress.sums

    def _diverged(self, loss: float | None) -> bool:
        best = self.progress.best_loss
        finite = all(bool(p.isfinite().all()) for p in self.model.parameters())
        return not (finite and (loss is None or loss <= DIVERGED * best))  # NaN is a divergence

    def _roll_back(self, stage: Stage) -> None:
        """Begin the epoch again where the last good one began, with a smaller learning rate."""
        self._walk_from("good", stage)
        self._keep("last")
        self.progress.go_back()
        if self.progress.rollbacks == ROLLBACKS:
            return self._stop(
                f"diverged, also at a learning rate of {self._rate(stage, 0):.2g}", stage
            )
        self.progress.rollbacks += 1
        self._write(
            "rollback",
            stage=stage.name,
            epoch=self.progress.epoch + 1,
            lr=self._scale() * stage.lr,
        )

    def _watch(self, stage: Stage, loss: float | None) -> None:
        """Early stopping: keep the epoch of the best test loss, and stop some epochs after it."""
        patience = self.plan.options.early_stopping
        if patience is None or loss is None:
            return
        if self.progress.is_best(loss):
            self._keep("best")
        elif (since := self.progress.epoch - self.progress.best_epoch) >= patience:
            self._stop("early stopping", stage, taken_back=since)

    def _stop(self, why: str, stage: Stage, taken_back: int = 0) -> None:
        """End a stage with the epoch that is so many before this one."""
        self.progress.stopped = True
        place = {"epoch": self.progress.epoch, "taken_back": taken_back}
        self._write("stop", stage=stage.name, **place, why=why)

    def _keep(self, name: str) -> None:
        self.kept[name] = deepcopy(self.walk.state_dict())

    def _walk_from(self, name: str, stage: Stage) -> None:
        state = deepcopy(self.kept[name])
        self.walk = WALKS[stage.optimizer].of_state(self.model, state)

    def _finish(self, stage: Stage, coefficients: Mapping[str, float]) -> None:
        if "best" in self.kept:
            self._walk_from("best", stage)
        self.walk, self.kept = None, {}
        self.progress.next_stage()
        if self._begins_member():
            self.opening.refit(self.model, stage, coefficients)
            self._finish_member(stage, coefficients)
        self._save()

    def _begins_member(self) -> bool:
        """Whether the next stage is the first of a member of the committee, or none is left."""
        stages, place = self.plan.stages, self.progress.stage
        return place in (0, len(stages)) or stages[place].member > stages[place - 1].member

    def _finish_member(self, stage: Stage, coefficients: Mapping[str, float]) -> None:
        """Keep the parameters of a member; when all have theirs, the potential is their mean."""
        if not self.plan.stages[-1].member:
            return
        self.members.append(deepcopy(self.model.state_dict()))
        if self.progress.stage == len(self.plan.stages):
            self.model, self.members = mean_of(self.model, self.members), []
            self.opening.refit_mean(self.model, stage, coefficients)

    def _scale(self) -> float:
        """What divergences have left of the stage's learning rate."""
        return ROLLBACK_FACTOR**self.progress.rollbacks

    def _rate(self, stage: Stage, batch: int) -> float:
        """The learning rate of a batch of this epoch."""
        updates = n_batches(len(self.train), self.plan.batch_size)
        update = self.progress.epoch * updates + batch
        factor = rate_factor(
            stage.scheduler, update, stage.epochs * updates, stage.scheduler_step_size * updates
        )
        return stage.lr * factor * self._scale()

    def _figures(
        self, structures: WeightedSet, coefficients: Mapping[str, float], power: str
    ) -> dict[str, float | None]:
        """Losses and errors of a whole set with the parameters as they are."""
        everything = structures.everything
        total = torch.zeros(12, dtype=torch.float64, device=self.context.device)
        for share in structures.shares(everything, self.plan.batch_size, self.context):
            own = sums(self.model(share.batch), share.batch, share.weights_S3)
            total += own.detach().reshape(-1)
        total = self.context.sum_over_workers(total).reshape(3, 4)
        return figures(total, structures.labels(everything), coefficients, power)

    def _coefficients(self, stage: Stage) -> dict[str, float] | None:
        """Of the stage; of the calibration stage None until they are found."""
        if stage.calibrated:
            return self.progress.coefficients
        given = (stage.energy_coeff, stage.forces_coeff, stage.stress_coeff)
        return dict(zip(LABELS, given, strict=True))

    def _calibrate(self) -> None:
        before = self._coefficients(self.plan.stages[self.progress.stage - 1])
        found = calibrated(self.progress.losses, before)
        self.progress.coefficients = found
        coefficients = {f"{label}_coeff": found[label] for label in LABELS}
        self._write(
            "calibration", **coefficients, **weighted_losses(self.progress.losses, before, found)
        )

    def _resume(self, found: Checkpoint) -> None:
        self.model, self.progress, self.kept = found.model, found.progress, found.kept
        self.members = found.members
        if found.walk:
            stage = self.plan.stages[self.progress.stage]
            self.walk = WALKS[stage.optimizer].of_state(self.model, found.walk)
        self.record.truncate(self.progress.journal_bytes)

    def _save_if_due(self) -> None:
        due = time.monotonic() - self.saved_at > self.plan.checkpoint_interval_s
        if due and self.context.rank == 0:
            self._save()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.context.rank != 0:
            return
        self.progress.journal_bytes = self.record.position()
        walk = self.walk.state_dict() if self.walk else None
        checkpoint.save(
            self.plan.folder,
            Checkpoint(
                self.plan.fingerprint, self.progress, self.model, walk, self.kept, self.members
            ),
        )

    def _write(self, kind: str, **content: object) -> None:
        self.record.write(kind, self.progress.step, content)

    def _end(self) -> None:
        """Errors of the finished potential over both sets."""
        last = self.plan.stages[-1]
        coefficients = self._coefficients(last)
        self._write(
            "end",
            train=self._figures(self.train, coefficients, last.loss),
            test=self._figures(self.test, coefficients, last.loss),
        )
