"""Which trials a sweep has, in Tune's words, and which of them are not trained to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from ..errors import UserError
from ..sweep.file import Sweep
from ..sweep.space import Choices, Point
from ..sweep.trials import Trial, TrialFolder

GRACE_PERCENT, REDUCTION = 25, 2
"""Of ASHA: at 25 and at 50 % of its epochs a trial goes on if it is in the better half so far."""


def tune_space(sweep: Sweep) -> dict[str, Any]:
    """Trials by their number, or of Optuna the space: of choices their number."""
    if sweep.trials:
        return {"number": tune.grid_search(highest_first(sweep.trials))}
    return {
        key: tune.choice(list(range(len(domain.values))))
        if isinstance(domain, Choices)
        else (tune.loguniform if domain.logarithmic else tune.uniform)(domain.low, domain.high)
        for key, domain in sweep.space.items()
    }


def highest_first(trials: Sequence[Trial]) -> list[int]:
    """Numbers of trials in the order of their beginning: a high level takes long, and one that is
    left for the end would go on alone.
    """
    return sorted(range(len(trials)), key=lambda n: -trials[n].control.mtp_config.levmax)


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


def searcher(sweep: Sweep, trials: Path):
    """Optuna, which begins with what the trials' folders hold; None where the trials are given."""
    if sweep.trials:
        return None
    try:
        import optuna
    except ImportError:
        raise UserError(
            'search "optuna" needs Optuna: pip install "lightpfp_ray[sweep]", or search "random"'
        ) from None
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = list(_known(sweep, trials))
    seed = sweep.options.seed + len(known)  # the same would draw the known ones again
    return OptunaSearch(seed=seed, points_to_evaluate=known or None)


def _known(sweep: Sweep, trials: Path) -> Iterator[dict[str, Any]]:
    """The configurations of the trials that have a folder, the first to begin first."""
    folders = [TrialFolder.at(path) for path in trials.iterdir()]
    begun = [folder for folder in folders if folder.point is not None]
    for folder in sorted(begun, key=lambda folder: folder.began):
        config = _config_of(sweep, folder.point)
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


def scheduler(sweep: Sweep) -> TrialScheduler:
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
