"""A committee predicts the mean of its members, each from a start of its own."""

from dataclasses import replace

import pytest
import torch

from lightpfp_ray.config import parse_control
from lightpfp_ray.errors import UserError
from lightpfp_ray.mtp.engine import torch_engine
from lightpfp_ray.training.committee import mean_of
from lightpfp_ray.training.options import Options, refuse_contradiction

from .training_samples import STAGES, ListJournal, committee, model_of, sets, trained

LABELS = ("energy_S", "forces_A3", "stress_S6")

CONTROL = """{
  "mtp_config": {"nn_dim_list": [4]},
  "multistage_config": {"epoch_list": [1, 1], "calibration_epoch": 1},
  "lightpfp_ray": {"members": 2}
}"""


def random_members(structures, widths, n):
    """Potentials of one shape with random parameters."""
    found = []
    for seed in range(n):
        member = model_of(structures, widths=widths)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in member.parameters():
                parameter.normal_(0, 0.1, generator=generator)
        found.append(member)
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("widths", [(), (5,), (4, 3, 2)])
def test_the_merged_potential_predicts_the_mean_of_the_members(widths, dtype):
    structures = sets()["train"]
    members = [m.to(dtype) for m in random_members(structures, widths, 3)]
    merged = mean_of(members[0], [m.state_dict() for m in members])
    assert merged.widths == tuple(3 * width for width in widths)
    assert len(merged.basis.scalars) == 3 * len(members[0].basis.scalars)
    assert merged.dtype == dtype
    batch = structures.batch(range(len(structures)))
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4  # sums of terms of both signs
    for engine in (merged.engine, torch_engine.evaluate):
        prediction = engine(merged, batch, False)
        for label in LABELS:
            mean = torch.stack([getattr(m(batch), label) for m in members]).mean(0)
            found = getattr(prediction, label)
            torch.testing.assert_close(found, mean, rtol=tolerance, atol=tolerance)


def test_a_committee_of_one_is_the_potential_itself():
    (member,) = random_members(sets()["train"], (4,), 1)
    merged = mean_of(member, [member.state_dict()])
    assert merged.shape() == member.shape()
    for name, value in member.state_dict().items():
        assert torch.equal(merged.state_dict()[name], value)


@pytest.mark.parametrize("starts", [1, 2])
@pytest.mark.parametrize("widths", [(), (4,)])
def test_a_member_begins_where_a_training_of_its_own_seed_does(tmp_path, widths, starts):
    """The first one is the training without a committee, to the bit."""
    structures, short = sets(), (replace(STAGES[0], epochs=0),)
    changes = {"widths": widths, "starts": starts, "least_squares_stages": False}
    alone = [
        trained(tmp_path / f"{seed}", structures, seed=seed, stages=short, **changes)
        for seed in range(2)
    ]
    changes |= {"stages": committee(2, short), "members": 2}
    together = trained(tmp_path / "together", structures, **changes)
    found = together.radial_coeffs.chunk(2, dim=2)
    assert torch.equal(found[0], alone[0].radial_coeffs)
    # The search is a quasi-Newton method, which enlarges rounding; two seeds differ by 1.7.
    torch.testing.assert_close(found[1], alone[1].radial_coeffs, rtol=0, atol=0.03)


@pytest.mark.parametrize("widths", [(), (4,)])
def test_the_linear_part_of_the_mean_is_solved_for_once_more(tmp_path, widths):
    stage, losses = replace(STAGES[0], energy_coeff=1.0, stress_coeff=10.0), []
    for wanted in (False, True):
        journal = ListJournal()
        changes = {"widths": widths, "stages": committee(2, (stage,)), "members": 2}
        changes |= {"least_squares_stages": wanted, "starts": 1}
        trained(tmp_path / str(wanted), sets(), journal, **changes)
        losses.append(journal.records[-1]["train"]["loss"])
    assert losses[1] < losses[0]


def test_every_member_goes_through_a_search_and_all_stages(tmp_path):
    journal, stages = ListJournal(), parse_control(CONTROL, "control.json").stages
    names = ["stage_1", "stage_2", "calibration"]
    assert [s.name for s in stages] == names + [f"member_2/{name}" for name in names]
    trained(tmp_path, sets(), journal, widths=(4,), stages=stages, members=2)
    kinds = [r["type"] for r in journal.records if r["type"] not in ("rollback", "note")]
    of_member = [*["epoch"] * 2, "calibration", "epoch"]
    assert kinds == ["start", "search", *of_member, "search", *of_member, "end"]


def test_a_committee_of_a_potential_is_refused():
    with pytest.raises(UserError, match="members is 3, and the training begins at a potential"):
        refuse_contradiction(Options(members=3), (), (), tunes=True)
