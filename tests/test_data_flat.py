"""Arrays on disk: mapped and shared, whole or refused, written piece by piece."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightpfp_ray.data import flat
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.neighbors import search
from lightpfp_ray.data.parts import OF_ATOMS, OF_EDGES, write_part
from lightpfp_ray.data.schema import content_hash
from lightpfp_ray.errors import UserError

from .data_samples import metals
from .test_data_dataset import assert_equal


def part(folder, first=0, count=3, times=1):
    """A part of structures that differ in their content from those of another `first`."""
    structures = [structure_of(atoms) for atoms in metals(count, seed=first)]
    structures = [replace(s, source=f"x#{first + n}") for n, s in enumerate(structures)]
    found = [search(s.positions, s.cell, s.pbc, 4.0) for s in structures]
    return write_part(
        folder, map(content_hash, structures * times), structures * times, found * times
    )


@pytest.fixture
def folder(tmp_path):
    flat.join(tmp_path / "train", [part(tmp_path / "a"), part(tmp_path / "b", 3)])
    return tmp_path


def mapping_of(pointer):
    """Rights and file of the mapping that an address lies in; of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, *_, path = line.split()
        start, end = (int(number, 16) for number in where.split("-"))
        if start <= pointer < end:
            return rights, Path(path).name
    return None


def test_all_who_open_a_set_map_the_same_files(folder):
    first, second = (StructureSet.open(folder, "train") for _ in range(2))
    for name in ("positions_A3", "forces_A3", "neighbors_E", "shifts_E3"):
        pointers = [getattr(s, name).data_ptr() for s in (first, second)]
        assert pointers[0] != pointers[1]
        file = name.split("_")[0] + ".npy"
        assert [mapping_of(p) for p in pointers] == [("r--s", file)] * 2, "read-only, shared"


@pytest.mark.parametrize("name", [*flat.ARRAYS])
def test_an_array_that_was_cut_off_exchanged_or_lost_is_refused_in_one_line(folder, name):
    path = folder / "train" / f"{name}.npy"
    whole = path.read_bytes()
    wrong = [whole[:-1], whole[:50], b"", b"rubbish" * 40]
    for content in wrong:
        path.write_bytes(content)
        assert_refused(folder)
    np.save(path, np.zeros(2))
    assert_refused(folder)
    path.unlink()
    assert_refused(folder)


@pytest.mark.parametrize("content", [b"", b"ARROW1 rubbish", b"half"])
def test_a_table_that_is_damaged_is_refused_in_one_line(folder, content):
    path = folder / "train" / flat.TABLE
    path.write_bytes(content if content != b"half" else path.read_bytes()[:-100])
    assert_refused(folder)
    path.unlink()
    assert_refused(folder)


def test_files_of_another_version_are_refused(folder, monkeypatch):
    monkeypatch.setattr(flat, "VERSION", flat.VERSION + 1)
    assert_refused(folder)


def assert_refused(folder):
    with pytest.raises(UserError, match=r"train is damaged.*delete the cache") as caught:
        StructureSet.open(folder, "train")
    assert "\n" not in str(caught.value)


def without(*_):
    raise OSError("not between these disks")


def test_without_the_help_of_the_system_the_same_is_written(folder, monkeypatch):
    monkeypatch.setattr(flat.os, "copy_file_range", without, raising=False)
    monkeypatch.setattr(flat, "COPIED", 100)
    flat.join(folder / "again", [folder / "a", folder / "b"])
    for path in (folder / "train").iterdir():
        assert (folder / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", [*OF_ATOMS, *OF_EDGES])
def test_a_part_that_was_cut_off_makes_no_set(folder, name):
    whole = (folder / "b" / name).read_bytes()
    (folder / "b" / name).write_bytes(whole[:-1])
    with pytest.raises(EOFError):
        flat.join(folder / "again", [folder / "a", folder / "b"])


def test_a_part_that_a_task_left_when_it_died_is_made_anew(folder):
    for path in (folder / "b").iterdir():
        path.write_bytes(b"rubbish" * 1000)
    flat.join(folder / "again", [folder / "a", part(folder / "b", 3)])
    for path in (folder / "train").iterdir():
        assert (folder / "again" / path.name).read_bytes() == path.read_bytes()


def test_structures_that_are_chosen_are_those_of_the_set(folder):
    names = ["x#0", "x#2", "x#4"]
    parts = [folder / "a", folder / "b"]
    flat.join(folder / "some", parts, lambda rows: np.isin(rows["source"].to_pylist(), names))
    whole, some = (StructureSet.open(folder, split) for split in ("train", "some"))
    found, everything = some.sources.to_pylist(), whole.sources.to_pylist()
    assert sorted(found) == names
    order = [everything.index(name) for name in found]
    assert_equal(some.batch(range(3)), whole.batch(order))


def test_the_memory_of_writing_does_not_grow_with_the_set(tmp_path, monkeypatch):
    monkeypatch.setattr(flat, "STRETCH", 1000)
    one = part(tmp_path / "one", count=10, times=20)

    def peak(count):
        tracemalloc.start()
        flat.join(tmp_path / str(count), [one] * count)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is imported or made once
    growth = peak(40) - peak(2)
    sizes = [(tmp_path / str(n) / "neighbors.npy").stat().st_size - 128 for n in (2, 40)]
    assert sizes[1] == 20 * sizes[0]
    assert growth < 0.1 * sizes[1]  # some numbers a part and a structure
