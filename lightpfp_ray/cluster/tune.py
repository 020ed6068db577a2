"""Ray Tune runs the trials of a sweep: how many at a time, and what the driver learns of them.

A trial is a plain function in a process of its own, and that process is used again; where a trial
has several workers or a GPU, the function holds no CPU and launches Ray Train, so that no trial
waits for what another one holds.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial as TuneTrial

from ..errors import UserError
from ..sweep.trials import Trial
from .choice import scheduler, searcher, trial_of, tune_space
from .errors import unwrap
from .trial import OUT_OF_MEMORY, Study, run_trial

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}

LOW_MEMORY = ("NODE_OUT_OF_MEMORY", "running low on memory")
"""In what Ray says where its memory monitor ended a process."""


class Audience(Protocol):
    """Is told in the driver how the trials go."""

    def begun(self, trial: Trial) -> None: ...
    def ended(self, trial: Trial, failure: str) -> None:
        """`failure`: a line where it failed, else ""."""


def search(study: Study, at_a_time: int, audience: Audience, scratch: Path) -> None:
    """Run all trials, on a Ray that is initialised.

    `scratch`: a folder for Tune's own records, removed.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    study.folder.mkdir(parents=True, exist_ok=True)
    storage = scratch / uuid.uuid4().hex
    each = (
        {"cpu": 0, "memory": 2**20} if study.nested else {"cpu": study.each.cpus_per_worker}
    )  # Ray takes no request of nothing at all

    def trainable(config: Mapping[str, Any]) -> None:
        run_trial(study, config)

    tuner = tune.Tuner(
        tune.with_resources(trainable, each),
        param_space=tune_space(study.sweep),
        tune_config=tune.TuneConfig(
            metric=study.sweep.options.objective,
            mode="min",
            search_alg=searcher(study.sweep, study.folder),
            scheduler=scheduler(study.sweep),
            num_samples=1 if study.sweep.trials else study.sweep.n_trials,
            max_concurrent_trials=at_a_time,
            reuse_actors=not study.nested,
        ),
        run_config=tune.RunConfig(
            name="sweep", storage_path=str(storage), verbose=0, callbacks=[Watch(study, audience)]
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


class Watch(tune.Callback):
    """In the driver: notes in a trial's folder that it was stopped, and tells that it ended."""

    def __init__(self, study: Study, audience: Audience) -> None:
        self.study, self.audience = study, audience

    def __getstate__(self) -> dict:
        """Tune keeps callbacks for a `Tuner.restore`, which is not used here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list, trial: TuneTrial, **info) -> None:
        if ours := self._trial(trial):
            self.audience.begun(ours)

    def on_trial_complete(self, iteration: int, trials: list, trial: TuneTrial, **info) -> None:
        ours = trial_of(self.study.sweep, trial.config)
        folder = self.study.folder_of(ours)
        if folder.state == "open":
            percent = trial.last_result.get("percent", 0)
            folder.end("stopped", f"behind the others at {percent:.0f} % of its epochs")
        self.audience.ended(ours, "")

    def on_trial_error(self, iteration: int, trials: list, trial: TuneTrial, **info) -> None:
        if ours := self._trial(trial):
            self.audience.ended(ours, failure(_error_of(trial)))

    def _trial(self, trial: TuneTrial) -> Trial | None:
        """None where Optuna chose values that contradict each other."""
        try:
            return trial_of(self.study.sweep, trial.config)
        except UserError:
            return None


def _error_of(trial: TuneTrial) -> BaseException | None:
    """What Tune has just written beside its own log; `Trial.get_error` finds it only later."""
    for path in filter(None, (trial.pickled_error_file, trial.error_file)):
        if Path(path).exists():
            content = Path(path).read_bytes()
            pickled = path == trial.pickled_error_file
            return cloudpickle.loads(content) if pickled else RuntimeError(content.decode())
    return None


def failure(error: BaseException | None) -> str:
    """Why a trial failed, in one line."""
    if found := unwrap(error):
        return str(found).replace("\n", "; ")
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(sign in str(error) for sign in LOW_MEMORY):
        return OUT_OF_MEMORY
    if isinstance(error, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError):
        return "its process was killed: the same command goes on from its last checkpoint"
    return (said[-1] if said else type(error).__name__)[:200]
