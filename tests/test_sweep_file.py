"""A sweep file is checked whole before the first trial; a mistake is one line with its place."""

import json
from pathlib import Path

import pytest

from lightpfp_ray.errors import UserError
from lightpfp_ray.sweep import Trial, TrialFolder, load_sweep
from lightpfp_ray.sweep.file import as_text

SWEEPS = sorted((Path(__file__).parents[1] / "configs" / "sweeps").glob("*.json"))
RC = "mtp_config.rc"
LEVELS = {"mtp_config.levmax": {"grid": [4, 6]}}


def loaded(tmp_path, sweep):
    path = tmp_path / "sweep.json"
    path.write_text(sweep if isinstance(sweep, str) else json.dumps(sweep))
    return load_sweep(path)


def mistakes(tmp_path, sweep):
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, sweep)
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_grid_is_every_combination(tmp_path):
    sweep = loaded(
        tmp_path,
        {
            "control": {"mtp_config": {"rc": 5.0}},
            "parameters": LEVELS | {"multistage_config.lr_list": {"choice": [[0.1, 0.01], [1, 1]]}},
        },
    )
    found = [
        (t.control.mtp_config.levmax, t.control.multistage_config.lr_list) for t in sweep.trials
    ]
    assert found == [(4, (0.1, 0.01)), (4, (1, 1)), (6, (0.1, 0.01)), (6, (1, 1))]
    assert {t.control.mtp_config.rc for t in sweep.trials} == {5.0}


def test_draws_are_different_trials_and_follow_the_seed(tmp_path):
    sweep = {
        "control": {},
        "search": "random",
        "trials": 5,
        "parameters": {
            "mtp_config.rc": {"uniform": [4, 6]},
            "multistage_config.calibration_lr": {"log_uniform": [1e-4, 1e-1]},
            "mtp_config.n_q": {"choice": [4, 6]},
        },
    }
    first, again = (loaded(tmp_path, sweep).trials for _ in range(2))
    other = loaded(tmp_path, sweep | {"seed": 1}).trials
    assert first == again != other
    assert len({t.name for t in first}) == 5
    assert all(4 <= t.control.mtp_config.rc <= 6 for t in first)
    assert all(1e-4 <= t.control.multistage_config.calibration_lr <= 1e-1 for t in first)


def test_a_small_space_is_drawn_only_once(tmp_path):
    sweep = {"control": {}, "search": "random", "trials": 99, "parameters": LEVELS}
    assert loaded(tmp_path, sweep).n_trials == 2


def test_keys_that_belong_together_are_varied_as_a_section(tmp_path):
    small = {"levmax": 8, "moment_mu_cost": 1}
    large = {"levmax": 16, "moment_mu_cost": 4}
    sweep = loaded(
        tmp_path,
        {
            "control": {"mtp_config": {"rc": 5.0}},
            "parameters": {"mtp_config": {"choice": [small, large]}},
        },
    )
    assert [t.label for t in sweep.trials] == [
        "levmax 8, moment_mu_cost 1",
        "levmax 16, moment_mu_cost 4",
    ]
    assert {t.control.mtp_config.rc for t in sweep.trials} == {5.0}


def test_samples_hold_the_largest_cutoff(tmp_path):
    for search in ({}, {"search": "optuna", "trials": 3}):
        sweep = loaded(
            tmp_path,
            {"control": {}, "parameters": {"mtp_config.rc": {"choice": [4.5, 5.5, 5]}}} | search,
        )
        assert max(control.mtp_config.rc for control in sweep.samples) == 5.5


def test_a_control_file_is_found_beside_the_sweep_file(tmp_path):
    (tmp_path / "control.json").write_text('{\n"mtp_config": {"rc": -1}}')
    sweep = {"control_file": "control.json", "parameters": LEVELS}
    (line,) = mistakes(tmp_path, sweep)
    assert line.startswith("control.json:2: mtp_config.rc: found -1")
    (tmp_path / "control.json").write_text('{"mtp_config": {"rc": 4}}')
    assert loaded(tmp_path, sweep).trials[0].control.mtp_config.rc == 4


def test_what_is_saved_means_the_same(tmp_path):
    sweep = loaded(tmp_path, {"control": {"mtp_config": {"rc": 5.0}}, "parameters": LEVELS})
    assert loaded(tmp_path, as_text(sweep)) == sweep


def test_all_wrong_values_are_refused_at_once_each_with_its_line(tmp_path):
    text = """{
  "control": {"common_config": {"total_epochs": 4}},
  "parameters": {
    "mtp_config.levmax": {"grid": [8, 1]},
    "mtp_config.cutoff": {"grid": [4, 5]},
    "multistage_config.lr_list": {"choice": [[0.1, 0.01],
      [1]]},
    "lightpfp_ray.seed": {"grid": ["a"]}
  }
}"""
    found = [line.split(": ")[:2] for line in mistakes(tmp_path, text)]
    assert found == [
        ["sweep.json:2", "common_config.total_epochs"],
        ["sweep.json:5", "mtp_config.cutoff"],
        ["sweep.json:8", "lightpfp_ray.seed"],
        ["sweep.json:4", "mtp_config.levmax"],
        ["sweep.json:7", "multistage_config.lr_list"],
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"serch": "grid"}, "did you mean search?"),
        ({"search": "all"}, 'expected "grid", "random" or "optuna"'),
        ({"objective": "test/force_mae"}, 'did you mean "test/forces_mae"?'),
        ({"parameters": {}}, "expected at least one key"),
        ({"parameters": {"mtp_config.rc": [4, 5]}}, 'expected one of {"grid": [...]}'),
        ({"parameters": {"mtp_config.rc": {"grid": []}}}, "expected a list of values"),
        ({"parameters": {"mtp_config.rc": {"uniform": [4, 5]}}}, 'or search "random"'),
        ({"parameters": {"mtp_config.rc": {"log_uniform": [0, 5]}}}, "numbers above 0"),
        ({"parameters": {"mtp_config.rc": {"uniform": [5, 4]}}}, "expected [low, high]"),
        ({"parameters": {"common_config.max_forces": {"grid": [9]}}}, "which structures there are"),
        ({"search": "random"}, "trials: found none"),
        ({"trials": 3}, 'search "grid" tries all combinations'),
        ({"trials": 0, "search": "random"}, "found 0"),
        ({"control_file": "a.json"}, "found both of control and control_file"),
        ({"control": None}, "found none of control and control_file"),
        (
            {
                "search": "random",
                "trials": 2,
                "parameters": {"mtp_config.rc": {"uniform": [-1, 1]}},
            },
            "mtp_config.rc: found -1.0, expected a finite number above 0",
        ),
        (
            {"search": "optuna", "trials": 2, "parameters": {"mtp_config.n_q": {"choice": [0]}}},
            "mtp_config.n_q: found 0",
        ),
    ],
)
def test_a_wrong_key_or_value_is_one_line(tmp_path, changes, said):
    (line,) = mistakes(tmp_path, {"control": {}, "parameters": LEVELS} | changes)
    assert line.startswith("sweep.json:1: ")
    assert said in line


def test_two_points_have_two_folders():
    points = [
        {"mtp_config.rc": 4.00001},
        {"mtp_config.rc": 4.00002},
        {"mtp_config.nn_dim_list": []},
        {"mtp_config.nn_dim_list": [64, 64]},
        {"mtp_config.nn_dim_list": [6464]},
        {"common_config.reload_model": "a/b"},
        {"common_config.reload_model": "ab"},
        {"common_config.reload_model": None},
    ]
    names = [Trial.of({}, point).name for point in points]
    assert len(set(names)) == len(points)
    assert all("/" not in name and len(name) < 100 for name in names)
    assert Trial.of({}, {"mtp_config.levmax": 8, "mtp_config.n_q": 6}).name == "levmax=8,n_q=6"


def test_a_folder_tells_how_its_trial_went(tmp_path):
    trial = Trial.of({}, {"mtp_config.n_q": 6})
    folder = TrialFolder.at(tmp_path / "trial")
    assert (folder.state, folder.point) == ("open", None)
    folder.begin(trial, {})
    assert (folder.state, folder.point, folder.why) == ("open", trial.point, "")
    folder.end("stopped", "behind")
    assert (folder.state, folder.why) == ("stopped", "behind")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_the_sweeps_that_are_shipped_are_valid(path):
    assert load_sweep(path).n_trials >= 3
