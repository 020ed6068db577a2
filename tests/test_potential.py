"""A potential on disk: what was saved is what is loaded; what is not a potential is refused in a
line.
"""

import pytest
import torch

from lightpfp_ray import Potential, load
from lightpfp_ray.errors import UserError
from lightpfp_ray.potential import restricted

from .test_laws import energy, potential, structure


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
def test_a_saved_potential_is_loaded_bit_for_bit(tmp_path, widths):
    model = potential(widths)
    Potential(model, {}).save(tmp_path / "potential")
    loaded = load(tmp_path).model
    assert loaded.shape() == model.shape()
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True)
    )


def test_a_potential_of_fewer_species_says_the_same_of_them():
    one = structure("one atom")
    assert energy(restricted(potential(), [13]), one) == energy(potential(), one)


def test_a_species_that_the_potential_lacks_is_named():
    with pytest.raises(UserError, match="not trained for Fe, it knows"):
        restricted(potential(), [13, 26])


def test_a_folder_without_a_potential_is_refused(tmp_path):
    with pytest.raises(UserError, match="no potential here"):
        load(tmp_path)
