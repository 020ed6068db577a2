"""A committee predicts the mean of its members, over radial functions that are one for all."""

import pytest
import torch

from lightpfp_ray.config import parse_control
from lightpfp_ray.errors import UserError
from lightpfp_ray.training.committee import mean_of
from lightpfp_ray.training.options import Options, refuse_contradiction

from .training_samples import ListJournal, committee, model_of, sets, trained

LABELS = ("energy_S", "forces_A3", "stress_S6")

CONTROL = """{
  "mtp_config": {"nn_dim_list": [4]},
  "multistage_config": {"epoch_list": [1, 1], "calibration_epoch": 1},
  "lightpfp_ray": {"members": 2}
}"""


def random_members(structures, widths, n):
    """Potentials with the same radial functions and random networks."""
    found = []
    for seed in range(n):
        member = model_of(structures, widths=widths)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in member.named_parameters():
                if name != "radial_coeffs":
                    parameter.normal_(0, 0.1, generator=generator)
        found.append(member)
    return found


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("widths", [(5,), (5, 3), (4, 3, 2)])
def test_the_merged_network_predicts_the_mean_of_the_members(widths, dtype):
    structures = sets()["train"]
    members = [m.to(dtype) for m in random_members(structures, widths, 3)]
    merged = mean_of(members[0], [m.state_dict() for m in members])
    assert merged.widths == tuple(3 * width for width in widths)
    assert merged.dtype == dtype
    batch = structures.batch(range(len(structures)))
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4  # sums of terms of both signs
    for label in LABELS:
        mean = torch.stack([getattr(m(batch), label) for m in members]).mean(0)
        found = getattr(merged(batch), label)
        torch.testing.assert_close(found, mean, rtol=tolerance, atol=tolerance)


def test_the_first_member_is_the_training_without_a_committee(tmp_path):
    structures = sets()
    alone = trained(tmp_path / "alone", structures, widths=(4,))
    changes = {"stages": committee(2), "members": 2}
    together = trained(tmp_path / "together", structures, widths=(4,), **changes)
    assert torch.equal(together.radial_coeffs, alone.radial_coeffs)
    first, second = together.readout.layers[0].weight.split(4)
    assert torch.equal(first, alone.readout.layers[0].weight)
    assert not torch.allclose(second, first)


def test_every_member_goes_through_all_stages_and_one_search(tmp_path):
    journal, stages = ListJournal(), parse_control(CONTROL, "control.json").stages
    names = ["stage_1", "stage_2", "calibration"]
    assert [s.name for s in stages] == names + [f"member_2/{name}" for name in names]
    trained(tmp_path, sets(), journal, widths=(4,), stages=stages, members=2)
    kinds = [r["type"] for r in journal.records if r["type"] not in ("rollback", "note")]
    of_member = [*["epoch"] * 2, "calibration", "epoch"]
    assert kinds == ["start", "search", *of_member, *of_member, "end"]


def test_a_committee_without_networks_is_refused():
    with pytest.raises(UserError, match="members is 3, and no network"):
        refuse_contradiction(Options(members=3), (), ())
