"""The training loop: stage after stage, data-parallel, and nothing known of who launched it.

An update: every worker sums the loss and its gradient over its share of the batch; one all-reduce
of one float64 vector; then each makes the same Adam step. Two workers give the parameters of one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..mtp.model import MTP
from . import checkpoint
from .batches import n_batches, n_labels, permutation, shares
from .calibration import calibrated
from .checkpoint import Checkpoint, Progress
from .context import Structures, WorkerContext
from .loss import LABELS, figures, sums, weighted
from .schedule import rate_factor
from .start import solve_reference_energies

if TYPE_CHECKING:
    from ..config import Stage

RATES = {"radial_coeffs": 0.1, "species_coeffs": 0.01, "readout": 0.1}
"""Learning rate of each group of parameters, in units of the stage's: an E0 in eV moves less."""


class Journal(Protocol):
    """Where rank 0 writes what happened."""

    def append(self, record: dict) -> None: ...
    def position(self) -> int: ...
    def truncate(self, position: int) -> None: ...


@dataclass(frozen=True)
class Plan:
    """What is to be trained, and where its checkpoints are."""

    stages: tuple[Stage, ...]
    batch_size: int
    seed: int
    fingerprint: str  # of control file and data
    folder: Path
    checkpoint_interval_s: float


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
        self.plan, self.model, self.sets, self.context = plan, model, sets, context
        self.journal = journal
        self.progress = Progress()
        self.optimizer: torch.optim.Adam | None = None
        self.saved_at = time.monotonic()

    def run(self) -> MTP:
        """Train all stages that are left, and return the potential."""
        found = self._newest_checkpoint()
        if found:
            self._resume(found)
        else:
            self._truncate_journal(0)
            self._write({"type": "start", "total_epochs": sum(s.epochs for s in self.plan.stages)})
            self._solve_reference_energies()
        while self.progress.stage < len(self.plan.stages):
            self._stage()
        self._write_end()
        return self.model

    def _stage(self) -> None:
        stage = self.plan.stages[self.progress.stage]
        if self._coefficients(stage) is None:
            self._calibrate()
        self.optimizer = self.optimizer or self._new_optimizer(stage)
        while self.progress.epoch < stage.epochs:
            self._epoch(stage, self._coefficients(stage))
        self._solve_reference_energies()
        self.progress.stage, self.progress.epoch = self.progress.stage + 1, 0
        self.optimizer = None
        self._save()

    def _epoch(self, stage: Stage, coefficients: Mapping[str, float]) -> None:
        began = time.monotonic()
        train = self.sets["train"]
        order = permutation(len(train), self.plan.seed, self.progress.step + 1)
        first = self.progress.batch
        for share in shares(train, order, self.plan.batch_size, self.context, first):
            self._set_rate(self._rate(stage, self.progress.batch))
            self.progress.sums_32 += self._update(share, stage, coefficients)
            self.progress.batch += 1
            self._save_if_due()
        found = figures(
            self.progress.sums_32, n_labels(train.counts, order), coefficients, stage.loss
        )
        self._refuse_divergence(stage)
        rate = self._rate(stage, self.progress.batch - 1)
        self.progress.losses = {label: found[f"{label}_loss"] for label in LABELS}
        self.progress.epoch, self.progress.step = self.progress.epoch + 1, self.progress.step + 1
        self.progress.batch, self.progress.sums_32 = 0, torch.zeros_like(self.progress.sums_32)
        test = self._figures("test", coefficients, stage.loss)
        self._write_epoch(stage, rate, time.monotonic() - began, found, test)

    def _update(self, share, stage: Stage, coefficients: Mapping[str, float]) -> Tensor:
        """One step of Adam; the sums over the whole batch before it: (3, 2)."""
        self.optimizer.zero_grad()
        own = sums(self.model(share.batch, training=True), share.batch)
        weighted(own, share.labels, coefficients, stage.loss).backward()
        parameters = list(self.model.parameters())
        gradients = [
            torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1)
            for p in parameters
        ]
        flat = torch.cat([g.double() for g in gradients] + [own.detach().reshape(-1)])
        flat = self.context.sum_over_workers(flat)
        pieces = flat[:-6].split([p.numel() for p in parameters])
        for parameter, piece in zip(parameters, pieces, strict=True):
            parameter.grad = piece.reshape(parameter.shape).to(parameter.dtype)
        self.optimizer.step()
        return flat[-6:].reshape(3, 2)

    def _figures(self, split: str, coefficients: Mapping[str, float], power: str) -> dict:
        """Losses and errors of a whole set with the parameters as they are."""
        structures = self.sets[split]
        everything = np.arange(len(structures))
        total = torch.zeros(6, dtype=torch.float64, device=self.context.device)
        for share in shares(structures, everything, self.plan.batch_size, self.context):
            total += sums(self.model(share.batch), share.batch).detach().reshape(-1)
        total = self.context.sum_over_workers(total).reshape(3, 2)
        return figures(total, n_labels(structures.counts, everything), coefficients, power)

    def _new_optimizer(self, stage: Stage) -> torch.optim.Adam:
        groups = [
            {"params": [p], "rate": RATES[name.split(".")[0]]}
            for name, p in self.model.named_parameters()
        ]
        return torch.optim.Adam(groups, lr=stage.lr)

    def _rate(self, stage: Stage, batch: int) -> float:
        """The learning rate of a batch of this epoch."""
        updates = n_batches(len(self.sets["train"]), self.plan.batch_size)
        update = self.progress.epoch * updates + batch
        return stage.lr * rate_factor(
            stage.scheduler, update, stage.epochs * updates, stage.scheduler_step_size * updates
        )

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate"]

    def _coefficients(self, stage: Stage) -> dict[str, float] | None:
        """Of the stage; of the calibration stage None until they are found."""
        if stage.energy_coeff is None:
            return self.progress.coefficients
        given = (stage.energy_coeff, stage.forces_coeff, stage.stress_coeff)
        return dict(zip(LABELS, given, strict=True))

    def _calibrate(self) -> None:
        before = self._coefficients(self.plan.stages[self.progress.stage - 1])
        found = calibrated(self.progress.losses, before)
        self.progress.coefficients = found
        self._write({"type": "calibration", **{f"{label}_coeff": found[label] for label in LABELS}})

    def _solve_reference_energies(self) -> None:
        solve_reference_energies(self.model, self.sets["train"], self.context, self.plan.batch_size)

    def _refuse_divergence(self, stage: Stage) -> None:
        finite = all(bool(p.isfinite().all()) for p in self.model.parameters())
        if not finite or not bool(self.progress.sums_32.isfinite().all()):
            raise UserError(
                f"{stage.name} diverged in epoch {self.progress.epoch + 1}: the loss is no longer "
                f"finite; try a learning rate below {stage.lr:g}"
            )

    def _newest_checkpoint(self) -> Checkpoint | None:
        """The newest one that rank 0 sees, on every worker."""
        name = checkpoint.newest(self.plan.folder) if self.context.rank == 0 else None
        numbers = (
            [1 + int(part) for part in name.removesuffix(".pt").split("-")] if name else [0] * 3
        )
        chosen = torch.tensor(numbers, dtype=torch.float64, device=self.context.device)
        stage, epoch, batch = (int(n) - 1 for n in self.context.sum_over_workers(chosen).tolist())
        if stage < 0:
            return None
        place = Progress(stage, epoch, batch)
        return checkpoint.load(self.plan.folder / place.name, self.context.device)

    def _resume(self, found: Checkpoint) -> None:
        self.model, self.progress = found.model, found.progress
        if found.optimizer:
            self.optimizer = self._new_optimizer(self.plan.stages[self.progress.stage])
            self.optimizer.load_state_dict(found.optimizer)
        self._truncate_journal(self.progress.journal_bytes)

    def _truncate_journal(self, position: int) -> None:
        if self.context.rank == 0:
            self.journal.truncate(position)

    def _save_if_due(self) -> None:
        due = time.monotonic() - self.saved_at > self.plan.checkpoint_interval_s
        if due and self.context.rank == 0:
            self._save()

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.context.rank != 0:
            return
        self.progress.journal_bytes = self.journal.position()
        state = self.optimizer.state_dict() if self.optimizer else None
        checkpoint.save(
            self.plan.folder,
            Checkpoint(self.plan.fingerprint, self.progress, self.model, state),
        )

    def _write(self, record: dict) -> None:
        if self.context.rank == 0:
            self.journal.append({**record, "step": self.progress.step, "time": time.time()})

    def _write_epoch(
        self, stage: Stage, rate: float, seconds: float, train: dict, test: dict
    ) -> None:
        self._write(
            {
                "type": "epoch",
                "stage": stage.name,
                "stage_index": self.progress.stage,
                "epoch": self.progress.epoch,
                "seconds": seconds,
                "lr": rate,
                "train": train,
                "test": test,
            }
        )

    def _write_end(self) -> None:
        """Errors of the finished potential over both sets."""
        last = self.plan.stages[-1]
        coefficients = self._coefficients(last)
        found = {
            split: self._figures(split, coefficients, last.loss) for split in ("train", "test")
        }
        self._write({"type": "end", **found})
