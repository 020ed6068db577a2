"""Learning rates and calibration coefficients against values computed by hand."""

import pytest

from lightpfp_ray.errors import UserError
from lightpfp_ray.training.calibration import calibrated
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
