"""What is skipped, and the reason that is counted."""

from dataclasses import replace

import numpy as np
import pytest

from lightpfp_ray.data import filter as reasons
from lightpfp_ray.data.filter import distance_reason, skip_reason
from lightpfp_ray.data.structure import Structure

GOOD = Structure(
    numbers=np.array([14, 14]),
    positions=np.array([[0.0, 0, 0], [2.0, 0, 0]]),
    cell=5.0 * np.eye(3),
    pbc=np.ones(3, bool),
    energy=-8.0,
    forces=np.array([[3.0, 4.0, 0.0], [0, 0, 0]]),
    stress=np.zeros(6),
)
EMPTY = {"numbers": np.zeros(0, int), "positions": np.zeros((0, 3)), "forces": np.zeros((0, 3))}
NAN = np.full((2, 3), np.nan)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        (EMPTY, reasons.NO_ATOMS),
        ({"numbers": np.array([0, 14])}, reasons.UNKNOWN_ELEMENT),
        ({"numbers": np.array([119, 14])}, reasons.UNKNOWN_ELEMENT),
        ({"positions": NAN}, reasons.BAD_POSITION),
        ({"cell": np.diag([np.inf, 1, 1])}, reasons.BAD_POSITION),
        ({"cell": np.diag([5.0, 5.0, 0.0])}, reasons.FLAT_CELL),
        ({"cell": np.ones((3, 3))}, reasons.FLAT_CELL),
        ({"cell": np.diag([5.0, 5.0, 0.0]), "pbc": np.array([True, True, False])}, None),
        ({"cell": np.zeros((3, 3)), "pbc": np.zeros(3, bool), "stress": None}, None),
        ({"energy": np.nan}, reasons.BAD_LABEL),
        ({"forces": NAN}, reasons.BAD_LABEL),
        ({"stress": np.full(6, np.inf)}, reasons.BAD_LABEL),
        ({"weight": np.nan}, reasons.BAD_WEIGHT),
        ({"weight": -1.0}, reasons.BAD_WEIGHT),
        ({"weight": 0.0}, None),
        ({"energy": None, "forces": None, "stress": None}, reasons.NO_LABEL),
        ({"energy": None, "forces": None}, None),
    ],
)
def test_a_structure_is_skipped_for_a_reason(change, reason):
    assert skip_reason(replace(GOOD, **change), 1e38, 1e38) == reason


def test_max_energy_is_signed_and_per_atom_and_max_forces_a_norm():
    assert skip_reason(GOOD, -4.0, 5.0) is None
    assert skip_reason(GOOD, -4.001, 1e38) == "energy above max_energy"
    assert skip_reason(GOOD, 1e38, 4.999) == "force above max_forces"


def test_atoms_on_one_another_are_a_reason():
    assert distance_reason(0.0999) == "atoms closer than 0.1 A"
    assert distance_reason(0.1) is None
    assert distance_reason(np.inf) is None
