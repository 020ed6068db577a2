"""Packed weights: whole steps of the radial coefficients, everything else bit for bit; what is
damaged or of a later version is refused in a line.
"""

import json
import struct
import zlib

import pytest
import torch
from safetensors.torch import load_file

from lightpfp_ray import Potential, load
from lightpfp_ray.errors import UserError
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape
from lightpfp_ray.zoo import models, packing
from lightpfp_ray.zoo.publish import publish

NAME = "ALL_ELEMENTS_SMALL_6"
RADIAL = packing.RADIAL


def potential(n_species):
    """Random parameters: what species share is large, and one pair is far from it."""
    basis = make_basis(Levels(8, mu_cost=1))
    model = MTP(range(1, n_species + 1), basis, RadialShape(5.0, 0.5, 8), [4])
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
        model.radial_coeffs += 10 * torch.randn(n_species, 1, *model.radial_coeffs.shape[2:])
        model.radial_coeffs[1, 2] = -300.0
        model.radial_coeffs[:, :, 3] = 0.0
    return Potential(model.float(), {"from": "a test"})


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The file of weights of a model of 60 species, which LIGHTPFP_RAY_ZOO makes the one of
    NAME; and its state before.
    """
    monkeypatch.setenv(models.FOLDER, str(tmp_path))
    made = potential(60)
    publish(made, tmp_path, NAME, {"teacher": "none"})
    return tmp_path / f"{NAME}.safetensors", made.model.state_dict()


def test_radial_coefficients_come_back_within_half_a_step(published):
    _, before = published
    after = load(NAME).model.state_dict()
    rms_R = before[RADIAL].double().square().mean((0, 1, 3)).sqrt()
    step_R = (rms_R / 2**packing.BITS).log2().floor().exp2()
    moved = (after[RADIAL].double() - before[RADIAL].double()).abs().amax((0, 1, 3))
    assert (moved <= step_R / 2).all()
    n = after[RADIAL].double() / step_R.where(step_R > 0, 1.0)[:, None]
    assert torch.equal(n, n.round())
    assert not after[RADIAL][:, :, 3].any()


def test_all_other_parameters_come_back_bit_for_bit(published):
    _, before = published
    after = load(NAME).model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before if k != RADIAL)


def test_packing_again_changes_nothing(published, tmp_path):
    file, _ = published
    packed = load(NAME)
    publish(packed, tmp_path / "again", NAME, packed.origin["card"])
    for again in (tmp_path / "again").iterdir():
        assert again.read_bytes() == file.with_name(again.name).read_bytes()


def test_packing_makes_small_what_a_wheel_cannot(published):
    """The bytes of float32 have nothing that deflate could leave out; a pair far from all others
    costs a plane of zeros.
    """
    file, before = published
    whole = sum(t.nbytes for t in before.values())
    assert len(zlib.compress(file.read_bytes())) < 0.45 * whole
    assert load_file(file)[packing.OWN].shape[0] == 3


def test_a_potential_folder_stays_plain(published, tmp_path):
    """A training from a packed model writes what every training does."""
    packed = load(NAME)
    packed.save(tmp_path / "trained")
    plain = load_file(tmp_path / "trained/weights.safetensors")
    assert plain.keys() == packed.model.state_dict().keys()
    assert torch.equal(plain[RADIAL], load(tmp_path / "trained").model.radial_coeffs)


def test_few_species_are_not_rounded(tmp_path):
    made = potential(11)
    publish(made, tmp_path, NAME, {})
    after = packing.read(tmp_path / f"{NAME}.safetensors")
    assert all(torch.equal(after[k], v) for k, v in made.model.state_dict().items())


def with_packing(content, text):
    """A safetensors file with another `packing` in its metadata."""
    (n,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + n])
    head["__metadata__"]["packing"] = text
    made = json.dumps(head).encode()
    return struct.pack("<Q", len(made)) + made + content[8 + n :]


def flipped(content):
    return content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (flipped, "damaged: its content has another checksum: install it anew"),
        (lambda content: content[:-1], "the weights do not fit"),
        (lambda content: b"", "the weights do not fit"),
        (lambda content: with_packing(content, "7 00000000"), "packing 7 found, this .* reads 1"),
        (lambda content: with_packing(content, ""), "packing  found, this .* reads 1"),
    ],
    ids=["one bit", "cut", "empty", "later", "nameless"],
)
def test_a_damaged_or_later_file_is_refused_in_a_line(published, spoil, told):
    file, _ = published
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError, match=told) as refused:
        load(NAME)
    assert "\n" not in str(refused.value)


def test_parameters_that_are_no_numbers_are_not_published(tmp_path):
    made = potential(11)
    with torch.no_grad():
        made.model.radial_coeffs[0, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        publish(made, tmp_path, NAME, {})
