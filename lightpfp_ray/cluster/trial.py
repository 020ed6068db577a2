"""What the process of a trial does: train, and tell Tune how it goes.

What a trial has done is in its folder: one that is begun again tells Tune the epochs that are in
its journal and goes on from its checkpoint, or ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import tune

from ..errors import UserError
from ..journal import records
from ..sweep.file import Sweep
from ..sweep.trials import Trial, TrialFolder
from .choice import trial_of
from .session import Resources, Session
from .trainer import Job, fit

REPORTS = 20
"""How often a trial reports, at equal parts of its epochs."""

POLL_S = 0.5
"""Between two looks at the journal of a trial that Ray Train runs."""

OUT_OF_MEMORY = (
    "it ran out of memory: fewer trials at a time (--cpus-per-worker), or a smaller batch_size"
)

Tell = Callable[[dict[str, Any]], None]
"""Takes the record of an epoch as it is written."""


@dataclass(frozen=True)
class Study:
    """What is searched, and how a trial is trained."""

    sweep: Sweep
    folder: Path  # of the trials' folders
    train: Callable[[Trial, TrialFolder, Tell], None]  # up to metrics.json
    each: Resources  # of a trial

    @property
    def nested(self) -> bool:
        return self.each.workers > 1 or self.each.device == "cuda"

    def folder_of(self, trial: Trial) -> TrialFolder:
        return TrialFolder.at(self.folder / trial.name)


def run_trial(study: Study, config: Mapping[str, Any]) -> None:
    """A trial in its process. One that was stopped or failed before does so again, at once."""
    trial = trial_of(study.sweep, config)
    folder = study.folder_of(trial)
    tell = Reports(trial.n_epochs, study.sweep.options.objective)
    for record in folder.epochs():
        tell(record)
    state = folder.state
    if state == "failed":
        raise UserError(folder.why)
    if state == "open":
        _train(study, trial, folder, tell)
        state = folder.state
    if state == "finished":
        tell.last(folder)


def _train(study: Study, trial: Trial, folder: TrialFolder, tell: Reports) -> None:
    try:
        study.train(trial, folder, tell)
    except MemoryError:
        raise UserError(OUT_OF_MEMORY) from None
    except RuntimeError as error:
        if "memory" in str(error):  # of torch's allocators
            raise UserError(OUT_OF_MEMORY) from None
        raise
    except UserError as error:
        if folder.output.path.exists():
            folder.end("failed", str(error))
        raise


class Reports:
    """Tells Tune of some epochs: those that reach the next of `REPORTS` parts of the training."""

    def __init__(self, n_epochs: int, objective: str) -> None:
        self.n_epochs, self.told = n_epochs, 0
        self.split, self.name = objective.split("/")

    def __call__(self, record: dict[str, Any]) -> None:
        value, step = record[self.split][self.name], record["step"]
        part = REPORTS * step // self.n_epochs
        if self.told < part < REPORTS and value is not None:
            self.told = part
            self._report(value, 100 * step / self.n_epochs)

    def last(self, folder: TrialFolder) -> None:
        """The figure of the finished potential."""
        value = folder.figure(f"{self.split}/{self.name}")
        if value is not None:
            self._report(value, 100)

    def _report(self, value: float, percent: float) -> None:
        tune.report({f"{self.split}/{self.name}": value, "percent": percent})


@dataclass(frozen=True)
class TellingJournal:
    """A journal that tells of each epoch as it is written."""

    journal: Any
    tell: Tell

    def append(self, record: dict[str, Any]) -> None:
        self.journal.append(record)
        if record["type"] == "epoch":
            self.tell(record)

    def position(self) -> int:
        return self.journal.position()

    def truncate(self, position: int) -> None:
        self.journal.truncate(position)


def fit_and_tell(job: Job, each: Resources, scratch: Path, tell: Tell) -> None:
    """Ray Train within a trial; what it writes into its journal is told from here.

    A trial that Tune stops is left by an exception out of `tell`; its process ends, and with it all
    that Ray Train started there.
    """
    failed: list[BaseException] = []

    def work() -> None:
        try:
            fit(job, each, Session("auto", verbose=False, borrowed=True), scratch)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    told = 0
    while thread.is_alive():
        thread.join(POLL_S)
        epochs = [r for r in records(job.journal) if r["type"] == "epoch"]
        for record in epochs[told:]:
            tell(record)
        told = max(told, len(epochs))
    if failed:
        raise failed[0]
