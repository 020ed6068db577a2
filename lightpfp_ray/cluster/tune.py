"""Ray Tune runs the trials of a sweep: which, how many at a time, and which of them not to the end.

A trial is a plain function in a process of its own, and that process is used again; where a trial
has several workers or a GPU, the function holds no CPU and launches Ray Train, so that no trial
waits for what another one holds. What a trial has done is in its folder: a trial that is begun
again tells Tune the epochs that are in its journal and goes on from its checkpoint, or ends.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ray
from ray import cloudpickle, tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from ..errors import UserError
from ..journal import records
from ..sweep.file import Sweep
from ..sweep.space import Choices, Point
from ..sweep.trials import Trial, TrialFolder
from .errors import unwrap
from .session import Resources, Session
from .trainer import Job, fit

REPORTS = 20
"""How often a trial reports, at equal parts of its epochs."""

GRACE_PERCENT, REDUCTION = 25, 2
"""Of ASHA: at 25 and at 50 % of its epochs a trial goes on if it is in the better half so far."""

SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}

POLL_S = 0.5
"""Between two looks at the journal of a trial that Ray Train runs."""

OUT_OF_MEMORY = (
    "it ran out of memory: fewer trials at a time (--cpus-per-worker), or a smaller batch_size"
)

LOW_MEMORY = ("NODE_OUT_OF_MEMORY", "running low on memory")
"""In what Ray says where its memory monitor ended a process."""

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
        _run(study, config)

    tuner = tune.Tuner(
        tune.with_resources(trainable, each),
        param_space=_tune_space(study.sweep),
        tune_config=tune.TuneConfig(
            metric=study.sweep.options.objective,
            mode="min",
            search_alg=_searcher(study),
            scheduler=_scheduler(study.sweep),
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


def _tune_space(sweep: Sweep) -> dict[str, Any]:
    """Trials by their number, or of Optuna the space: of choices their number."""
    if sweep.trials:
        return {"number": tune.grid_search(list(range(len(sweep.trials))))}
    return {
        key: tune.choice(list(range(len(domain.values))))
        if isinstance(domain, Choices)
        else (tune.loguniform if domain.logarithmic else tune.uniform)(domain.low, domain.high)
        for key, domain in sweep.space.items()
    }


def trial_of(sweep: Sweep, config: Mapping[str, Any]) -> Trial:
    """The trial that Tune means. Raises UserError for values that contradict each other."""
    if sweep.trials:
        return sweep.trials[config["number"]]
    return sweep.trial(
        {
            key: domain.values[config[key]] if isinstance(domain, Choices) else config[key]
            for key, domain in sweep.space.items()
        }
    )


def _searcher(study: Study):
    """Optuna, which begins with what the folders hold; None where the trials are given."""
    if study.sweep.trials:
        return None
    try:
        import optuna
    except ImportError:
        raise UserError(
            'search "optuna" needs Optuna: pip install "lightpfp_ray[sweep]", or search "random"'
        ) from None
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = list(_known(study))
    seed = study.sweep.options.seed + len(known)  # the same would draw the known ones again
    return OptunaSearch(seed=seed, points_to_evaluate=known or None)


def _known(study: Study) -> Iterator[dict[str, Any]]:
    """The configurations of the trials that have a folder, the first to begin first."""
    folders = [TrialFolder.at(path) for path in study.folder.iterdir()]
    begun = [folder for folder in folders if folder.point is not None]
    for folder in sorted(begun, key=lambda folder: folder.began):
        config = _config_of(study.sweep, folder.point)
        if config is not None:
            yield config


def _config_of(sweep: Sweep, point: Point) -> dict[str, Any] | None:
    """The other way around than `trial_of`; None for a point outside the space."""
    if set(point) != set(sweep.space):
        return None
    config = {}
    for key, domain in sweep.space.items():
        if not isinstance(domain, Choices):
            config[key] = point[key]
        elif point[key] in domain.values:
            config[key] = domain.values.index(point[key])
        else:
            return None
    return config


def _scheduler(sweep: Sweep) -> TrialScheduler:
    if sweep.options.scheduler is None:
        return FIFOScheduler()

    def group(config: Mapping[str, Any]) -> str:
        """With two objectives trials compete among those of one basis: else the quick potentials,
        which are the less exact, would never be trained to the end.
        """
        if sweep.options.second_objective is None:
            return ""
        return trial_of(sweep, config).control.mtp_config.model_dump_json(exclude={"n_q"})

    return Grouped(group, sweep.options.objective)


class Grouped(FIFOScheduler):
    """One ASHA for each group of trials."""

    def __init__(self, group: Callable[[Mapping[str, Any]], str], metric: str) -> None:
        super().__init__()
        self.group, self.metric_name = group, metric
        self.groups: dict[str, ASHAScheduler] = {}

    def _of(self, trial: TuneTrial) -> ASHAScheduler:
        return self.groups.setdefault(
            self.group(trial.config),
            ASHAScheduler(
                time_attr="percent",
                metric=self.metric_name,
                mode="min",
                max_t=100,
                grace_period=GRACE_PERCENT,
                reduction_factor=REDUCTION,
                stop_last_trials=False,
            ),
        )

    def on_trial_add(self, tune_controller, trial: TuneTrial) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller, trial: TuneTrial, result: dict) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller, trial: TuneTrial, result: dict) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller, trial: TuneTrial) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)


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


def _run(study: Study, config: Mapping[str, Any]) -> None:
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
