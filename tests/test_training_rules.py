"""Learning rates and calibration coefficients against values computed by hand."""

from dataclasses import fields, replace

import pytest

from lightpfp_ray.config import ControlFile, parse_control
from lightpfp_ray.config.sections import MultistageConfig
from lightpfp_ray.errors import UserError
from lightpfp_ray.training.calibration import calibrated
from lightpfp_ray.training.options import Options, refuse_contradiction
from lightpfp_ray.training.schedule import rate_factor


def test_calibration_makes_the_weighted_losses_equal_and_keeps_their_total():
    losses = {"energy": 0.5, "forces": 4.0, "stress": 0.01}
    coefficients = {"energy": 1.0, "forces": 0.1, "stress": 10.0}
    new = calibrated(losses, coefficients)
    assert new == pytest.approx({"energy": 2 / 3, "forces": 1 / 12, "stress": 100 / 3})
    assert sum(new[k] * losses[k] for k in losses) == pytest.approx(1.0)


def test_a_label_that_is_absent_gets_no_weight():
    new = calibrated(
        {"energy": 0.5, "forces": 2.0, "stress": None},
        {"energy": 1.0, "forces": 0.25, "stress": 1.0},
    )
    assert new == pytest.approx({"energy": 1.0, "forces": 0.25, "stress": 0.0})


def test_calibration_without_a_loss_is_refused():
    with pytest.raises(UserError, match="positive weighted loss"):
        calibrated(
            {"energy": None, "forces": 0.0, "stress": None},
            {"energy": 1.0, "forces": 1.0, "stress": 1.0},
        )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("None", [1, 1, 1, 1, 1, 1]),
        ("step", [1, 1, 0.9, 0.9, 0.81, 0.81]),
        ("linear_warmup", [1 / 2, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]),
    ],
)
def test_rates_follow_their_schedule(kind, expected):
    assert [rate_factor(kind, u, 6, 2) for u in range(6)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "widths", "named"),
    [({}, (16,), r"nn_dim_list \[16\]"), ({"loss_func_list": ("mse", "l1")}, (), "stage_2 is l1")],
)
def test_varpro_is_refused_where_it_cannot_work(changes, widths, named):
    control = ControlFile(multistage_config=MultistageConfig(**changes))
    projected = [replace(stage, optimizer="varpro") for stage in control.stages]
    with pytest.raises(UserError, match=named):
        refuse_contradiction(Options(), projected, widths)
    adam = [replace(stage, optimizer="adam") for stage in control.stages]
    refuse_contradiction(Options(), adam, widths)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", 60),
        ('{"lightpfp_ray": {"polish_epochs": 7}}', 7),
        ('{"lightpfp_ray": {"polish_epochs": 0}}', 0),
        ('{"lightpfp_ray": {"optimizer": "varpro"}}', 0),
        ('{"lightpfp_ray": {"share_pairs": true}}', 0),
        ('{"mtp_config": {"nn_dim_list": [8]}}', 0),
        ('{"mtp_config": {"pretrained_model": "ALL_ELEMENTS_SMALL_6", "nn_dim_list": [8]}}', 60),
        ('{"multistage_config": {"loss_func_list": ["mse", "l1"]}}', 0),
    ],
)
def test_a_linear_readout_is_polished_after_the_stages_of_adam(text, expected):
    *others, last = parse_control(text, "control.json").stages
    polished = last.epochs if last.name == "polish" else 0
    assert polished == expected
    assert not polished or last.optimizer == "varpro"
    assert not polished or sum(s.epochs for s in others) == 320


def test_the_options_of_the_training_are_those_of_the_control_file():
    ours = ControlFile().lightpfp_ray
    assert Options() == Options(**{f.name: getattr(ours, f.name) for f in fields(Options)})


def test_weights_of_groups_are_read_from_a_control_file():
    text = '{"lightpfp_ray": {"group_weights": {"melt": 2, "bulk": [1, 2.5, 0]}}}'
    found = parse_control(text, "control.json").lightpfp_ray.group_weights
    assert found == {"melt": 2, "bulk": [1, 2.5, 0]}
    for wrong in ("-1", '"2"', "true", "1, 2"):
        with pytest.raises(UserError, match='group_weights: "bulk" has'):
            parse_control(text.replace("2.5", wrong), "control.json")
