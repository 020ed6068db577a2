"""Further limits: off by default, each with its own reason."""

from dataclasses import replace

import numpy as np

from lightpfp_ray.data import filter as reasons
from lightpfp_ray.data.filter import Limits, distance_reason, skip_reason

from .test_data_filter import GOOD


def reason(structure, **limits):
    return skip_reason(structure, 1e38, 1e38, Limits(**limits))


def test_volume_per_atom_is_of_periodic_structures():
    assert reason(GOOD, max_volume_per_atom=62.5) is None
    assert reason(GOOD, max_volume_per_atom=62.4) == reasons.VOLUME
    cluster = replace(GOOD, pbc=np.zeros(3, bool), stress=None)
    assert reason(cluster, max_volume_per_atom=1.0) is None


def test_stress_is_the_largest_absolute_component():
    squeezed = replace(GOOD, stress=np.array([0, 0.1, 0, 0, -0.5, 0]))
    assert reason(squeezed, max_stress=0.5) is None
    assert reason(squeezed, max_stress=0.49) == reasons.STRESS
    assert reason(replace(GOOD, stress=None), max_stress=0.01) is None


def test_the_shortest_distance_is_limited_where_it_is_asked_for():
    assert distance_reason(1.5, Limits(min_distance=1.5)) is None
    assert distance_reason(1.49, Limits(min_distance=1.5)) == reasons.DISTANCE
    assert distance_reason(0.09, Limits(min_distance=1.5)) == reasons.TOO_CLOSE


def test_structures_that_no_search_for_neighbors_survives_are_left_out():
    def of(cell, positions=GOOD.positions, pbc=(True, True, True)):
        changed = replace(GOOD, cell=np.array(cell, float), positions=np.array(positions, float))
        return reason(replace(changed, pbc=np.array(pbc), stress=None))

    assert of(np.diag([0.05, 50, 50])) == reasons.THIN_CELL
    assert of([[5, 0, 0], [4.9999, 0.01, 0], [0, 0, 5]]) == reasons.THIN_CELL
    assert of(np.diag([0.2, 0.2, 0.2])) == reasons.DENSE_CELL
    assert of(np.diag([1e4, 1e4, 1e4])) is None
    assert of(np.diag([1e4, 10, 10]), pbc=(True, True, False)) == reasons.TOO_LARGE
    assert of(np.zeros((3, 3)), [[0, 0, 0], [0, 2e3, 0]], [False] * 3) == reasons.TOO_LARGE
    assert of([[3, 0, 0], [1.5, 2.6, 0], [0, 0, 900]], pbc=(True, True, False)) is None
