"""Batches gathered from a cache are those that are built from the structures one by one."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from lightpfp_ray.cluster.dataset import Options, summary_of_block
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.read import blocks_of, read_structures
from lightpfp_ray.data.schema import content_hash
from lightpfp_ray.errors import UserError

from .data_samples import metals, oddities, written

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
    """A folder of shards, three structures each, and the structures in the order of the set."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "shards").mkdir()
    path = written(folder / "all.extxyz", metals(6) + oddities())
    options = Options(CUTOFF, 1e38, 1e38, 0, None)
    for number, block in enumerate(blocks_of(path, path.name, 3)):
        summary_of_block(block, "train", folder, f"{number:06d}", options)
    return folder, sorted(read_structures(path), key=lambda s: (content_hash(s), s.source))


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


def test_a_damaged_shard_is_said_in_one_line(cache, tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "train-000000.parquet").write_bytes(b"PAR1 rubbish")
    with pytest.raises(UserError, match=r"is damaged.*delete the cache"):
        StructureSet.open(tmp_path, "train")


def test_batches_do_not_depend_on_the_source_of_a_structure(cache):
    structures = cache[1][:3]
    moved = [replace(s, source="elsewhere") for s in structures]
    assert_equal(batch_from_structures(structures, CUTOFF), batch_from_structures(moved, CUTOFF))
