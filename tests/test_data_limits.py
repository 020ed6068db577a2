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
