"""A checkpoint: parameters, walk, place in the run, and what the rest of the run depends on.

A file is written beside and renamed, so that it is whole or not there; the newest two are kept. A
run that goes on from one ends in the parameters of the undisturbed run, to the bit.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from ..files import write_atomically
from ..mtp.model import MTP
from .context import WorkerContext
from .loss import LABELS

VERSION = 3
"""Version of a checkpoint's layout; a reader refuses any other."""

KEPT = 2


@dataclass
class Progress:
    """How far a run is; `epoch` and `batch` count what is finished of the stage, of the epoch."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0  # epochs finished in all stages
    coefficients: dict[str, float] | None = None  # of the calibration stage, once it began
    losses: dict[str, float | None] = field(default_factory=dict)  # of training, last known
    journal_bytes: int = 0  # length of the journal at this place
    sums: Tensor = field(default_factory=lambda: torch.zeros(3, 4, dtype=torch.float64))
    best_loss: float | None = None  # of training, since the stage began; as what follows
    best_before: float | None = None  # the same where the last good epoch began
    best_test: float | None = None
    best_epoch: int = 0  # of best_test
    rollbacks: int = 0
    stopped: bool = False

    def restart_epoch(self) -> None:
        self.batch, self.sums = 0, torch.zeros_like(self.sums)

    def began(self, figures: Mapping[str, float | None]) -> None:
        """A stage begins with these figures of the training set."""
        self.best_loss = self.best_before = figures["loss"]
        self.losses = _losses(figures)

    def next_epoch(self, figures: Mapping[str, float | None]) -> None:
        """An epoch is finished, with these figures of the training set."""
        self.epoch, self.step, self.losses = self.epoch + 1, self.step + 1, _losses(figures)
        self.best_before = self.best_loss
        if figures["loss"] is not None:
            self.best_loss = min(figures["loss"], self.best_loss)
        self.restart_epoch()

    def go_back(self) -> None:
        """To where the last good epoch began: its loss may have been any that was known there."""
        self.best_loss = self.best_before
        self.restart_epoch()

    def is_best(self, loss: float) -> bool:
        """Whether a test loss is the lowest of the stage; it is then remembered."""
        best = self.best_test is None or loss < self.best_test
        if best:
            self.best_test, self.best_epoch = loss, self.epoch
        return best

    def next_stage(self) -> None:
        self.stage, self.epoch = self.stage + 1, 0
        self.best_loss, self.best_before = None, None
        self.best_test, self.best_epoch = None, 0
        self.rollbacks, self.stopped = 0, False

    @property
    def name(self) -> str:
        return f"{self.stage:03d}-{self.epoch:07d}-{self.batch:09d}.pt"


def _losses(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {label: figures[f"{label}_loss"] for label in LABELS}


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. `walk` is the state of coordinates and optimizer, `kept` the same at
    epochs to go back to; there is none at the border of stages, where the next one begins anew.
    """

    fingerprint: str
    progress: Progress
    model: MTP
    walk: dict | None
    kept: dict[str, dict]
    members: list[dict] = field(default_factory=list)  # parameters of those that are finished


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under the name of its place, then remove those before the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "version": VERSION,
        "fingerprint": checkpoint.fingerprint,
        "progress": vars(checkpoint.progress),
        "shape": checkpoint.model.shape(),
        "model": checkpoint.model.state_dict(),
        "walk": checkpoint.walk,
        "kept": checkpoint.kept,
        "members": checkpoint.members,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(folder / checkpoint.progress.name, buffer.getvalue())
    for old in sorted(folder.glob("*.pt"))[:-KEPT]:
        old.unlink(missing_ok=True)


def newest(folder: Path) -> str | None:
    """The name of the furthest checkpoint, or None."""
    return max((path.name for path in folder.glob("*.pt")), default=None)


def place_of(name: str) -> tuple[int, int, int]:
    """Stages, epochs of the next stage and batches of its next epoch that a checkpoint covers."""
    stage, epoch, batch = (int(part) for part in name.removesuffix(".pt").split("-"))
    return stage, epoch, batch


def newest_of_all(folder: Path, context: WorkerContext) -> Checkpoint | None:
    """The newest one that rank 0 sees, on every worker."""
    name = newest(folder) if context.rank == 0 else None
    numbers = [1 + n for n in place_of(name)] if name else [0] * 3
    chosen = torch.tensor(numbers, dtype=torch.float64, device=context.device)
    stage, epoch, batch = (int(n) - 1 for n in context.sum_over_workers(chosen).tolist())
    if stage < 0:
        return None
    return load(folder / Progress(stage, epoch, batch).name, context.device)


def load(path: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint. Raises UserError where it is damaged or of another version."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content["version"]
    except Exception as error:
        raise UserError(
            f"{path} is damaged ({str(error).splitlines()[0][:80]}): remove it, and the run "
            "goes on "
            "from the checkpoint before"
        ) from None
    if version != VERSION:
        raise UserError(
            f"{path} has version {version}, this one reads {VERSION}: go on with the version that "
            "wrote it, or start anew with --fresh"
        )
    model = MTP.of_shape(content["shape"]).to(content["model"]["species_coeffs"].dtype)
    model.load_state_dict(content["model"])
    return Checkpoint(
        fingerprint=content["fingerprint"],
        progress=Progress(**content["progress"]),
        model=model.to(device),
        walk=content["walk"],
        kept=content["kept"],
        members=content["members"],
    )
