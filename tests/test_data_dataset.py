"""Batches gathered from a cache are those that are built from the structures one by one."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.schema import content_hash

from .data_samples import metals, oddities, prepared, written

CUTOFF = 4.5


def assert_equal(first, second):
    """The same batch, bit by bit, wherever the edges lie."""
    names = [f.name for f in fields(first)] + ["center_E", "neighbor_E", "shift_E3"]
    first, second = first.with_own_edges(), second.with_own_edges()
    for name in names:
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype, name
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache, and its structures in the order of the set."""
    folder = tmp_path_factory.mktemp("cache")
    images = metals(6) + oddities()
    images[1].info.update(weight=0.25, config_type="slab")
    path = written(folder / "all.extxyz", images)
    prepared(folder / "cache", path, CUTOFF)
    structures = sorted(read_structures(path), key=lambda s: (content_hash(s), s.source))
    return folder / "cache", structures


@pytest.mark.parametrize("indices", [range(10), [9, 0, 3], [4, 4], [2], []])
def test_a_gathered_batch_is_the_one_built_from_structures(cache, indices):
    folder, structures = cache
    found = StructureSet.open(folder, "train").batch(np.array(indices, np.int64))
    assert_equal(found, batch_from_structures([structures[i] for i in indices], CUTOFF))


def test_a_set_knows_what_each_structure_has(cache):
    folder, structures = cache
    found = StructureSet.open(folder, "train")
    assert len(found) == len(structures) == 10
    assert [found.source(i) for i in range(10)] == [s.source for s in structures]
    assert found.counts.n_atoms.tolist() == [len(s.numbers) for s in structures]
    for name in ("energy", "forces", "stress"):
        assert getattr(found.counts, f"has_{name}").tolist() == [
            getattr(s, name) is not None for s in structures
        ]
    assert found.numbers_present == sorted({int(n) for s in structures for n in s.numbers})
    batch = found.batch(range(10))
    assert found.min_distance == pytest.approx(
        batch.edge_vectors().norm(dim=1).min().item(), rel=1e-15
    )


def test_a_split_without_structures_is_an_empty_set(cache):
    found = StructureSet.open(cache[0], "test")
    assert (len(found), found.numbers_present, found.min_distance) == (0, [], None)
    assert_equal(found.batch([]), batch_from_structures([], CUTOFF))


def test_weights_and_groups_come_with_the_structures(cache):
    folder, structures = cache
    found = StructureSet.open(folder, "train")
    assert found.counts.weight.tolist() == [s.weight for s in structures]
    assert sorted(set(found.counts.weight)) == [0.25, 1.0]
    names = found.counts.group_names
    assert [names[code] for code in found.counts.group] == [s.group for s in structures]
    assert sorted(names) == ["", "slab"]


def test_a_batch_points_at_the_edges_of_the_set_and_copies_none(cache):
    found = StructureSet.open(cache[0], "train")
    batch = found.batch([3, 1])
    assert batch.neighbors_N.data_ptr() == found.neighbors_E.data_ptr()
    assert batch.shifts_N3.data_ptr() == found.shifts_E3.data_ptr()


def test_batches_do_not_depend_on_the_source_of_a_structure(cache):
    structures = cache[1][:3]
    moved = [replace(s, source="elsewhere") for s in structures]
    assert_equal(batch_from_structures(structures, CUTOFF), batch_from_structures(moved, CUTOFF))


def test_a_subset_draws_the_batches_of_the_set(cache):
    folder, _ = cache
    whole = StructureSet.open(folder, "train")
    chosen = np.array([7, 2, 9, 0])
    subset = whole.subset(chosen)
    assert len(subset) == 4
    assert subset.counts.n_edges.tolist() == whole.counts.n_edges[chosen].tolist()
    assert [subset.source(i) for i in range(4)] == [whole.source(int(i)) for i in chosen]
    assert_equal(subset.batch([3, 1]), whole.batch(chosen[[3, 1]]))
