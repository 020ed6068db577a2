"""Rows keep every number; the hash and the split depend on content alone."""

from dataclasses import replace

import numpy as np
import pytest

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.schema import content_hash, rows_of, split_of, structures_of

from .data_samples import metals, oddities
from .test_data_read import assert_same


def test_structures_come_back_from_rows_exactly():
    structures = [
        replace(structure_of(a), source=f"x#{n}", weight=0.5 + n, group=f"g{n % 2}")
        for n, a in enumerate(metals(3) + oddities())
    ]
    back = structures_of(rows_of(structures))
    assert_same(back, structures)
    for name in ("source", "weight", "group"):
        assert [getattr(s, name) for s in back] == [getattr(s, name) for s in structures]
    assert rows_of([]).num_rows == 0


def test_the_hash_is_of_the_content_alone():
    structure = structure_of(metals(1)[0])
    same = content_hash(structure)
    assert content_hash(replace(structure, source="elsewhere", weight=2.0, group="b")) == same
    assert (
        content_hash(replace(structure, forces=structure.forces.copy(), pbc=structure.pbc.tolist()))
        == same
    )
    zero = replace(structure, stress=np.zeros(6))
    assert content_hash(zero) == content_hash(replace(zero, stress=-np.zeros(6)))
    others = [
        replace(structure, energy=structure.energy + 1e-12),
        replace(structure, energy=None),
        replace(structure, stress=None),
    ]
    assert len({same, content_hash(zero), *map(content_hash, others)}) == 5


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_the_split_has_the_fraction_that_was_asked_for(fraction):
    contents = [f"{n:064x}" for n in range(4000)]
    tests = [c for c in contents if split_of(c, 3, fraction) == "test"]
    assert abs(len(tests) - 4000 * fraction) < 4 * np.sqrt(4000 * fraction * (1 - fraction))
    assert tests != [c for c in contents if split_of(c, 4, fraction) == "test"]
    assert {split_of(c, 3, 0.0) for c in contents} == {"train"}
