"""One block from file to parts, and all parts to the sets, without anything that runs tasks."""

import numpy as np
import pytest

from lightpfp_ray.data import parts
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.filter import BAD_LABEL, TOO_CLOSE
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.schema import content_hash, split_of
from lightpfp_ray.errors import UserError

from .data_samples import labelled, metals, oddities, prepared, written
from .test_data_dataset import assert_equal


def test_the_sets_do_not_depend_on_how_blocks_and_parts_are_cut(tmp_path, monkeypatch):
    path = written(tmp_path / "a.extxyz", metals(8) + oddities())
    whole = prepared(tmp_path / "whole", path, size=100)
    monkeypatch.setattr(parts, "BUFFER", 500)
    cut = prepared(tmp_path / "cut", path, size=5)
    assert cut.as_dict() == whole.as_dict()
    first, second = (StructureSet.open(m.path, "train") for m in (whole, cut))
    everything = range(len(first))
    assert len(first) == 12
    assert [first.source(i) for i in everything] == [second.source(i) for i in everything]
    assert_equal(first.batch(everything), second.batch(everything))


def test_each_structure_falls_on_the_side_of_its_content(tmp_path):
    path = written(tmp_path / "a.extxyz", metals(12))
    manifest = prepared(tmp_path / "cache", path, test_fraction=0.4)
    side = {s.source: split_of(content_hash(s), 0, 0.4) for s in read_structures(path)}
    for split in ("train", "test"):
        found = StructureSet.open(manifest.path, split)
        sources = {found.source(i) for i in range(len(found))}
        assert sources == {source for source, where in side.items() if where == split} != set()
    assert manifest.moved == 0


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_a_side_that_chance_left_empty_is_given_the_nearest_content_with_its_equals(
    tmp_path, fraction
):
    path = written(tmp_path / "a.extxyz", metals(3) * 2)
    manifest = prepared(tmp_path / "cache", path, test_fraction=fraction)
    assert manifest.moved == 2
    assert sorted(manifest.kept.values()) == [2, 4]
    assert manifest.duplicates_across == 0
    alone = prepared(tmp_path / "alone", written(tmp_path / "b.extxyz", metals(1)), 4.0, fraction)
    assert alone.kept == {"train": 1, "test": 0}


def test_every_skipped_structure_is_named_in_the_order_of_the_file(tmp_path):
    cell = metals(1)[0]
    close = cell.copy()
    close.positions[1] = close.positions[0] + [0.05, 0, 0]
    bad = [labelled(close, energy=1.0), labelled(cell, energy=np.nan)]
    manifest = prepared(tmp_path / "cache", written(tmp_path / "a.extxyz", bad * 6 + metals(2)))
    assert manifest.skipped == {BAD_LABEL: 6, TOO_CLOSE: 6}
    lines = (manifest.path / "skipped.csv").read_text().split()
    rows = [(f"a.extxyz#{n}", (TOO_CLOSE, BAD_LABEL)[n % 2]) for n in range(12)]
    assert " ".join(lines) == " ".join(["source,reason", *(",".join(row) for row in rows)])
    assert manifest.skipped_examples == (*rows[1:10:2], *rows[0:10:2])


def test_nothing_left_is_refused(tmp_path):
    path = written(tmp_path / "a.extxyz", [labelled(metals(1)[0], energy=np.inf)])
    with pytest.raises(UserError, match=r"no structure left of --data \(1 skipped: NaN"):
        prepared(tmp_path / "cache", path)
