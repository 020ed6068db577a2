"""The control file: defaults by hand, split of epochs, overrides, what a resolved file means."""

import json
from pathlib import Path

import pytest

from lightpfp_ray.config import load_control, parse_control
from lightpfp_ray.config.stages import split_epochs

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.json"))

LIGHTPFP = """{
  "common_config": {
    "total_epoch": null,               // int?  epochs of the whole run, split 0.25 : 0.5 : 0.25
    "batch_size": 128,                 // training structures per parameter update
    "reload_model": null,              // model ID to start from; empty: parameters start at random
    "lr_scheduling": "linear_warmup",  // "step", "linear_warmup", "None"
    // "scheduler_step_size": int      // step size of the scheduler; default int(epoch / 25)
    "max_energy": 1e38,                // eV per atom, SIGNED threshold
    "max_forces": 1e38                 // eV/A
  },
  "mtp_config": {
    "model_version": "v1.0",           // only "v1.0" is supported
    "pretrained_model": "ALL_ELEMENTS_SMALL_6"   // "" : none (the default)
    // only when training from scratch:
    // "rc": float             cutoff of the local environment, A
    // "nn_dim_list": [int]    neurons of each hidden layer of the readout; [] (default) = linear
  },
  "multistage_config": {               // all lists of equal length, one entry a stage
    "lr_list": [0.1, 0.01],
    "epoch_list": [80, 160],
    "energy_loss_coeff_list": [1e-05, 1.0],
    "forces_loss_coeff_list": [10.0, 0.1],
    "stress_loss_coeff_list": [1e-05, 10.0],
    "loss_func_list": ["mse", "mse"],  // "mse", "l1"
    "use_calib_stage": true,
    "calibration_lr": 0.01,
    "calibration_epoch": 80
  }
}
"""
"""The file of LightPFP's documentation, with its comments."""


def control(tree=None, *overrides):
    return parse_control(json.dumps(tree or {}), "control.json", overrides)


def epochs(**common):
    tree = {"common_config": common, "lightpfp_ray": {"polish_epochs": 0}}
    return [stage.epochs for stage in control(tree).stages]


def test_defaults_are_those_of_lightpfp_and_documented_choices():
    assert control().resolved() == {
        "common_config": {
            "total_epoch": None,
            "batch_size": 128,
            "reload_model": None,
            "lr_scheduling": "linear_warmup",
            "scheduler_step_size": None,
            "max_energy": 1e38,
            "max_forces": 1e38,
        },
        "mtp_config": {
            "model_version": "v1.0",
            "pretrained_model": "",
            "rc": 6.0,
            "levmax": 8,
            "n_q": 8,
            "moment_init_cost": 2,
            "moment_mu_cost": 1,
            "moment_nu_cost": 1,
            "nn_dim_list": [],
        },
        "multistage_config": {
            "lr_list": [0.1, 0.01],
            "epoch_list": [80, 160],
            "energy_loss_coeff_list": [1e-05, 1.0],
            "forces_loss_coeff_list": [10.0, 0.1],
            "stress_loss_coeff_list": [1e-05, 10.0],
            "loss_func_list": ["mse", "mse"],
            "use_calib_stage": True,
            "calibration_lr": 0.01,
            "calibration_epoch": 80,
        },
        "lightpfp_ray": {
            "seed": 0,
            "test_fraction": 0.1,
            "max_volume_per_atom": None,
            "min_distance": None,
            "max_stress": None,
            "precision": "float64",
            "checkpoint_interval_s": 30.0,
            "optimizer": "adam",
            "polish_epochs": 60,
            "starts": 8,
            "share_pairs": False,
            "whitening": True,
            "least_squares_start": True,
            "least_squares_stages": True,
            "weight_decay": 20.0,
            "members": 1,
            "early_stopping": None,
            "group_weights": {},
        },
    }


def test_the_file_of_lightpfp_is_accepted_as_it_stands():
    found = parse_control(LIGHTPFP, "control.json")
    assert found.pretrained == "ALL_ELEMENTS_SMALL_6"
    assert found.notes == ()
    scratch = parse_control(LIGHTPFP, "control.json", ["mtp_config.pretrained_model="])
    assert scratch.fingerprint() == control().fingerprint()


def test_stages_are_the_transposed_lists_with_calibration_last():
    found = control({"multistage_config": {"loss_func_list": ["mse", "l1"]}})
    first, second, calibration = found.stages
    assert (first.name, first.epochs, first.lr, first.loss) == ("stage_1", 80, 0.1, "mse")
    assert (first.energy_coeff, first.forces_coeff, first.stress_coeff) == (1e-5, 10.0, 1e-5)
    assert (second.name, second.epochs, second.lr, second.loss) == ("stage_2", 160, 0.01, "l1")
    assert (second.energy_coeff, second.forces_coeff, second.stress_coeff) == (1.0, 0.1, 10.0)
    assert (calibration.name, calibration.epochs, calibration.lr) == ("calibration", 80, 0.01)
    assert calibration.energy_coeff is calibration.forces_coeff is calibration.stress_coeff is None
    assert calibration.loss == "l1"
    assert [s.scheduler for s in (first, second, calibration)] == ["linear_warmup"] * 3


def test_the_step_of_the_scheduler_is_a_25th_of_each_stage():
    def steps(common):
        *stages, polish = control({"common_config": common}).stages
        assert polish.scheduler == "None"
        return [stage.scheduler_step_size for stage in stages]

    assert steps({}) == [3, 6, 3]
    assert steps({"total_epoch": 4}) == [1, 1, 1]
    assert steps({"scheduler_step_size": 7}) == [7, 7, 7]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (500, [125, 250, 125]),
        (320, [80, 160, 80]),
        (10, [2, 6, 2]),
        (7, [2, 3, 2]),
        (3, [1, 1, 1]),
        (2, [0, 2, 0]),
        (1, [0, 1, 0]),
    ],
)
def test_a_total_is_a_quarter_a_half_and_a_quarter(total, expected):
    assert epochs(total_epoch=total) == expected


@pytest.mark.parametrize(
    ("total", "proportions", "calibrated", "expected"),
    [
        (300, [80, 160], False, [100, 200]),
        (300, [1, 1], False, [100, 200]),
        (100, [5], True, [75, 25]),
        (100, [5], False, [100]),
        (400, [10, 20, 30], True, [50, 100, 150, 100]),
        (60, [10, 20, 30], False, [10, 20, 30]),
        (2, [1000, 1000, 1], False, [1, 0, 1]),
    ],
)
def test_other_numbers_of_stages_share_in_proportion(total, proportions, calibrated, expected):
    assert split_epochs(total, proportions, calibrated) == expected


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("proportions", [[1], [80, 160], [0, 3, 1], [1000, 1, 1], [7] * 9])
def test_epochs_sum_to_every_total_and_the_last_stage_has_some(proportions, calibrated):
    for total in [*range(1, 200), 10**400]:
        found = split_epochs(total, proportions, calibrated)
        assert len(found) == len(proportions) + calibrated
        assert sum(found) == total
        assert min(found) >= 0
        assert found[len(proportions) - 1] >= 1


def test_a_total_that_wins_says_so():
    lists = {"epoch_list": [10, 20], "calibration_epoch": 10}
    both = control({"common_config": {"total_epoch": 80}, "multistage_config": lists})
    assert both.notes == (
        "total_epoch 80 wins over epoch_list [10, 20] and calibration_epoch 10: the stages have "
        "20, 40, 20 epochs",
    )
    assert control({"common_config": {"total_epoch": 80}}).notes == ()
    same = control({"common_config": {"total_epoch": 40}, "multistage_config": lists})
    assert same.notes == ()


def test_what_is_given_and_not_used_is_named():
    tree = {
        "common_config": {"lr_scheduling": "None", "scheduler_step_size": 3},
        "mtp_config": {"pretrained_model": "ORGANIC", "rc": 5.0, "levmax": 1},
        "multistage_config": {"use_calib_stage": False, "calibration_lr": 0.1},
    }
    assert control(tree).notes == (
        "pretrained_model is ORGANIC: rc, levmax ignored",
        "use_calib_stage is false: calibration_lr ignored",
        'lr_scheduling is "None": scheduler_step_size ignored',
    )
    assert [stage.name for stage in control(tree).stages] == [
        "stage_1",
        "stage_2",
        "polish",
    ]


@pytest.mark.parametrize("none", [None, ""])
def test_null_and_empty_mean_no_model(none):
    tree = {"common_config": {"reload_model": none}, "mtp_config": {"pretrained_model": none}}
    assert control(tree) == control()
    assert control(tree).fingerprint() == control().fingerprint()


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"common_config": {"total_epoch": 500}},
        {"common_config": {"total_epoch": 1}},
        {"common_config": {"total_epoch": 7}, "multistage_config": {"use_calib_stage": False}},
        {"mtp_config": {"pretrained_model": "ORGANIC", "rc": 5}},
    ],
)
def test_a_resolved_file_means_the_same_and_needs_no_note(tree):
    again = control(control(tree).resolved())
    assert again.resolved() == control(tree).resolved()
    assert again.stages == control(tree).stages
    assert again.fingerprint() == control(tree).fingerprint()
    assert again.notes == ()


@pytest.mark.parametrize(
    ("override", "decides"),
    [
        ("lightpfp_ray.checkpoint_interval_s=1", False),
        ("common_config.total_epoch=320", False),
        ("multistage_config.epoch_list=[80.0, 160]", False),
        ("common_config.batch_size=64", True),
        ("mtp_config.rc=5", True),
        ("multistage_config.calibration_lr=0.1", True),
        ("lightpfp_ray.seed=1", True),
    ],
)
def test_the_fingerprint_is_of_what_decides_the_result(override, decides):
    assert (control({}, override).fingerprint() != control().fingerprint()) == decides


def test_overrides_are_json_or_else_strings_and_the_last_wins():
    found = control(
        {"mtp_config": {"rc": 4.0}},
        "mtp_config.rc=5",
        "mtp_config.rc=5.5",
        "mtp_config.nn_dim_list=[16, 16]",
        "mtp_config.pretrained_model=ORGANIC",
        "common_config.lr_scheduling=None",
        "common_config.reload_model=runs:/a=b",
    )
    assert (found.mtp_config.rc, found.mtp_config.nn_dim_list) == (5.5, (16, 16))
    assert found.pretrained == "ORGANIC"
    assert found.common_config.lr_scheduling == "None"
    assert found.common_config.reload_model == "runs:/a=b"


def test_whole_numbers_may_be_written_with_a_point():
    tree = {"common_config": {"total_epoch": 80.0}, "mtp_config": {"nn_dim_list": [1e1]}}
    assert control(tree).common_config.total_epoch == 80
    assert control(tree).resolved()["mtp_config"]["nn_dim_list"] == [10]


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.name)
def test_shipped_files_are_valid_and_without_remarks(file):
    found = load_control(file)
    assert found.notes == ()
    assert not found.pretrained
