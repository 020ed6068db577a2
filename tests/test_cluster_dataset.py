"""The cache of prepared structures, made by a real Ray: kept, skipped, split, reused, and the
refusals.
"""

import csv
import json
import shutil

import numpy as np
import pytest

from lightpfp_ray.cluster import dataset
from lightpfp_ray.cluster.dataset import prepare
from lightpfp_ray.cluster.errors import unwrap
from lightpfp_ray.data import read
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.inputs import Options, inputs_of
from lightpfp_ray.data.manifest import Manifest
from lightpfp_ray.data.prepare import PARTS, gather
from lightpfp_ray.errors import UserError

from .data_samples import labelled, metals, oddities, written

pytestmark = pytest.mark.usefixtures("ray_cluster")
SETTINGS = {"cutoff": 4.0, "max_energy": 1e38, "max_forces": 1e38, "seed": 0, "test_fraction": 0.3}


def made(root, data, test_data=(), **changes):
    return prepare(
        [str(d) for d in data],
        [str(d) for d in test_data],
        **{**SETTINGS, **changes},
        cache_root=root / "cache",
    )


def broken():
    """Four structures that cannot be used, of four kinds."""
    cell = metals(1, seed=7)[0]
    nan, close, unknown = cell.copy(), cell.copy(), cell.copy()
    close.positions[1] = close.positions[0] + [0.05, 0, 0]
    unknown.numbers[0] = 0
    return [
        labelled(nan, energy=np.nan),
        labelled(close, energy=1.0),
        labelled(unknown, energy=1.0),
        labelled(cell, energy=1e6),
    ]


def test_a_cache_is_prepared_once_and_does_not_depend_on_order(tmp_path):
    first = written(tmp_path / "a.extxyz", metals(12) + broken())
    second = written(tmp_path / "b.traj", oddities())
    manifest = made(tmp_path, [first, second], max_energy=1e3)
    assert not manifest.reused
    assert sum(manifest.kept.values()) == 16
    assert manifest.skipped == {
        "NaN or infinite label": 1,
        "atoms closer than 0.1 A": 1,
        "energy above max_energy": 1,
        "unknown element": 1,
    }
    skipped = [
        ("a.extxyz#12", "NaN or infinite label"),
        ("a.extxyz#13", "atoms closer than 0.1 A"),
        ("a.extxyz#14", "unknown element"),
        ("a.extxyz#15", "energy above max_energy"),
    ]
    assert sorted(manifest.skipped_examples) == skipped
    with (manifest.path / "skipped.csv").open(newline="") as file:
        assert list(map(tuple, csv.reader(file))) == [("source", "reason"), *skipped]
    assert manifest.elements == (1, 8, 13, 28, 29)
    again = made(tmp_path, [second, first, first], max_energy=1e3)
    assert again.reused
    assert again.path == manifest.path
    assert Manifest.load(manifest.path).as_dict() == manifest.as_dict()
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {manifest.path.name}
    sets = {split: StructureSet.open(manifest.path, split) for split in ("train", "test")}
    assert {split: len(s) for split, s in sets.items()} == manifest.kept
    assert {split: int(s.counts.n_atoms.sum()) for split, s in sets.items()} == manifest.n_atoms
    assert all(
        int((~s.counts.has_stress).sum()) == manifest.missing[split]["stress"]
        for split, s in sets.items()
    )


def test_the_set_is_the_same_however_the_files_are_cut(tmp_path, monkeypatch):
    path = written(tmp_path / "a.extxyz", metals(12))
    whole = made(tmp_path, [path])
    content = [
        StructureSet.open(whole.path, "train").batch(range(whole.kept["train"])),
        whole.as_dict(),
    ]
    shutil.rmtree(whole.path)
    monkeypatch.setattr(read.blocks_of, "__defaults__", (5, *read.blocks_of.__defaults__[1:]))
    cut = made(tmp_path, [path])
    found = StructureSet.open(cut.path, "train").batch(range(cut.kept["train"]))
    assert [(found.positions_A3 == content[0].positions_A3).all().item(), cut.as_dict()] == [
        True,
        content[1],
    ]


@pytest.mark.parametrize("one_node", [True, False])
def test_blocks_of_a_task_that_died_are_done_anew_and_any_number_of_tasks_gives_the_same_bytes(
    tmp_path, monkeypatch, one_node
):
    path = written(tmp_path / "a.extxyz", metals(12) + broken())
    monkeypatch.setattr(read.blocks_of, "__defaults__", (2, *read.blocks_of.__defaults__[1:]))
    by_ray = made(tmp_path, [path], max_energy=1e3)
    options = Options(4.0, 1e3, 1e38, 0, 0.3)
    files, folder = inputs_of([str(path)], []), tmp_path / "by two"
    (folder / PARTS).mkdir(parents=True)
    items = dataset._items(folder, files, options)
    assert len(items) == 8
    assert dataset._taken(items[0], 0)  # then it died
    assert not dataset._taken(items[0], 1)
    rows = [*dataset._task({"task": 1}, items[:5], options, one_node=one_node)]
    assert [json.loads(row["summary"])["name"] for row in rows] == [
        "000001",
        "000002",
        "000003",
        "000004",
    ]
    rows += dataset._task({"task": 0}, items, options, one_node=one_node)
    done = sorted((json.loads(row["summary"]) for row in rows), key=lambda each: each["name"])
    assert [each["name"] for each in done] == [item["name"] for item in items]
    skipped = [tuple(pair) for each in done for pair in each["skipped"]]
    assert len(skipped) == 4
    gather(folder, files, options, skipped)
    for split in ("train", "test"):
        for each in (by_ray.path / split).iterdir():
            assert (folder / split / each.name).read_bytes() == each.read_bytes()
    assert (folder / "skipped.csv").read_bytes() == (by_ray.path / "skipped.csv").read_bytes()


def test_a_given_test_set_is_kept_apart_and_duplicates_are_counted(tmp_path):
    train, test = (
        written(tmp_path / "a.extxyz", metals(5)),
        written(tmp_path / "b.extxyz", metals(2) + metals(2, seed=9)),
    )
    manifest = made(tmp_path, [train], [test])
    assert manifest.kept == {"train": 5, "test": 4}
    assert manifest.duplicates_across == 2
    found = StructureSet.open(manifest.path, "test")
    assert {found.source(i).split("#")[0] for i in range(4)} == {"b.extxyz"}


def test_few_structures_leave_neither_side_empty_and_one_is_for_training(tmp_path):
    two = made(tmp_path, [written(tmp_path / "two.extxyz", metals(2))], test_fraction=1e-9)
    assert (two.kept, two.moved) == ({"train": 1, "test": 1}, 1)
    assert len(StructureSet.open(two.path, "test")) == 1
    one = made(tmp_path, [written(tmp_path / "one.extxyz", metals(1))], test_fraction=1 - 1e-9)
    assert one.kept == {"train": 1, "test": 0}
    none = made(tmp_path, [tmp_path / "two.extxyz"], test_fraction=0.0)
    assert none.kept == {"train": 2, "test": 0}


def test_refusals_are_one_line_and_leave_nothing_behind(tmp_path):
    bad = tmp_path / "OUTCAR"
    bad.write_text("rubbish\n" * 5)
    with pytest.raises(UserError, match="OUTCAR holds no structure") as caught:
        made(tmp_path, [bad, written(tmp_path / "a.extxyz", metals(2))])
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"no structure left of --data.*energy above max_energy"):
        made(tmp_path, [tmp_path / "a.extxyz"], max_energy=-1e9)
    with pytest.raises(UserError, match=r"no structure left of --test-data.*NaN or infinite label"):
        made(tmp_path, [tmp_path / "a.extxyz"], [written(tmp_path / "nan.extxyz", broken()[:1])])
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mistake_raised_in_a_task_is_found_in_what_ray_raises(ray_cluster):
    @ray_cluster.remote
    def task():
        raise UserError("a file is wrong: repair it")

    with pytest.raises(ray_cluster.exceptions.RayTaskError) as caught:
        ray_cluster.get(task.remote())
    around = RuntimeError("reading failed")
    around.__cause__ = caught.value
    assert str(unwrap(around)) == str(unwrap(caught.value)) == "a file is wrong: repair it"
    assert isinstance(unwrap(UserError("plain")), UserError)
    assert unwrap(ValueError("another")) is None
