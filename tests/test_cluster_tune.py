"""Ray Tune runs the trials of a sweep: what fails is one line, what is done is not done again."""

import json
import os
import signal
from dataclasses import dataclass, field
from functools import partial

import pytest

from lightpfp_ray.cluster.choice import Grouped, highest_first
from lightpfp_ray.cluster.session import Resources, slots
from lightpfp_ray.cluster.trial import OUT_OF_MEMORY, Reports, Study
from lightpfp_ray.cluster.tune import failure, search
from lightpfp_ray.errors import UserError
from lightpfp_ray.run_sweep import train_trial
from lightpfp_ray.sweep import load_sweep

from .data_samples import metals, prepared, written

pytestmark = pytest.mark.usefixtures("ray_cluster")
CONTROL = {
    "common_config": {"total_epoch": 4, "batch_size": 4},
    "mtp_config": {"rc": 4.0, "levmax": 4, "n_q": 4},
    "lightpfp_ray": {"starts": 1},
}
ONE = Resources(1, 1, "cpu")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    path = written(folder / "a.xyz", metals(9, seed=6))
    manifest = prepared(folder / "cache", path, 4.0, test_fraction=0.3)
    manifest.save()
    return manifest.path


@dataclass
class Told:
    """What the driver heard."""

    names: list = field(default_factory=list)
    failures: dict = field(default_factory=dict)

    def begun(self, trial):
        self.names.append(trial.label)

    def ended(self, trial, failure):
        self.failures[trial.label] = failure


GOOD, WILD, KILLED, GREEDY = [0.1, 0.01], [1e300, 0.01], [0.1, 0.02], [0.1, 0.03]
"""Learning rates, by what becomes of a trial."""


def train(cache, log, trial, folder, tell):
    """A real training, but for a death, an exhausted memory and a divergence, which are certain."""
    rates = [*trial.control.multistage_config.lr_list]
    with log.open("a") as file:
        file.write(trial.label + "\n")
    if rates == KILLED and log.read_text().count(trial.label) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if rates == WILD:
        folder.begin(trial, {})
        raise UserError("stage_1 diverged in epoch 1")
    if rates == GREEDY:
        raise MemoryError
    train_trial(cache, {}, ONE, trial, folder, tell)


def searched(tmp_path, cache, parameters, **options):
    """The folder of the trials, what the driver heard, and which trials were trained."""
    tmp_path.mkdir(exist_ok=True)
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps({"control": CONTROL, "parameters": parameters} | options))
    sweep, told, log = load_sweep(file), Told(), tmp_path / "log"
    log.touch()
    before = len(log.read_text().splitlines())
    study = Study(sweep, tmp_path / "trials", partial(train, cache, log), ONE)
    search(study, slots(ONE), told, tmp_path / ".ray")
    states = {path.name: study_state(path) for path in study.folder.iterdir()}
    return states, told.failures, log.read_text().splitlines()[before:]


def study_state(path):
    from lightpfp_ray.sweep import TrialFolder

    return TrialFolder.at(path).state


def test_failures_are_lines_the_others_end_and_a_second_call_repeats_nothing(tmp_path, cache):
    parameters = {"multistage_config.lr_list": {"grid": [GOOD, WILD, KILLED, GREEDY]}}
    good, wild, killed, greedy = (f"lr_list {rates}" for rates in (GOOD, WILD, KILLED, GREEDY))
    states, failures, trained = searched(tmp_path, cache, parameters)
    assert sorted(trained) == sorted([good, wild, killed, greedy])
    assert states["lr_list=0.1_0.01"] == "finished"
    assert failures[good] == ""
    assert "diverged" in failures[wild]
    assert "was killed" in failures[killed]
    assert failures[greedy] == OUT_OF_MEMORY
    assert all("\n" not in line for line in failures.values())
    states, failures, trained = searched(tmp_path, cache, parameters)
    assert sorted(trained) == sorted([killed, greedy])
    assert states["lr_list=0.1_0.02"] == "finished"
    assert "diverged" in failures[wild]


def test_optuna_goes_on_from_the_folders_that_are_there(tmp_path, cache):
    pytest.importorskip("optuna")
    space = {"mtp_config.rc": {"uniform": [3.0, 4.0]}, "mtp_config.n_q": {"choice": [3, 4]}}
    first, _, trained = searched(tmp_path, cache, space, search="optuna", trials=2)
    assert len(trained) == len(first) == 2
    more, _, trained = searched(tmp_path, cache, space, search="optuna", trials=3)
    assert set(first) < set(more)
    assert len(trained) == 1
    assert set(more.values()) == {"finished"}


def test_what_takes_longest_is_begun_first(tmp_path):
    file = tmp_path / "sweep.json"
    levels = {"mtp_config.levmax": {"grid": [8, 16]}, "mtp_config.n_q": {"grid": [6, 8]}}
    file.write_text(json.dumps({"control": {}, "parameters": levels}))
    assert highest_first(load_sweep(file).trials) == [2, 3, 0, 1]


def test_a_trial_is_stopped_only_by_those_of_its_own_basis():
    scheduler = Grouped(lambda config: str(config["levmax"]), "error")

    @dataclass
    class Trial:
        trial_id: str
        config: dict

    trials = [Trial(str(i), {"levmax": 8 if i < 3 else 4}) for i in range(6)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    decisions = [
        scheduler.on_trial_result(None, trial, {"percent": 25, "error": error})
        for trial, error in zip(trials, [1.0, 2.0, 0.5, 30.0, 20.0, 40.0], strict=True)
    ]
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "CONTINUE", "CONTINUE", "STOP"]


def test_a_trial_reports_at_equal_parts_of_its_epochs(monkeypatch):
    told = []
    reports = Reports(1000, "test/forces_mae")
    monkeypatch.setattr(reports, "_report", lambda value, percent: told.append(percent))
    for step in range(1, 1001):
        reports({"step": step, "test": {"forces_mae": 0.1}})
    assert told == [5.0 * part for part in range(1, 20)]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("one line"), "one line"),
        (RuntimeError("first\n  last"), "last"),
        (RuntimeError("Task was killed due to the node running low on memory."), OUT_OF_MEMORY),
        (None, "None"),
    ],
)
def test_a_failure_is_one_line(error, line):
    assert failure(error) == line
