"""Arrays on disk: mapped and shared, whole or refused, written piece by piece."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightpfp_ray.data import flat
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.errors import UserError

from .data_samples import metals
from .test_data_schema import table_of


def table(first=0, count=3):
    """Rows of SCHEMA that differ in their content from those of another `first`."""
    structures = [structure_of(atoms) for atoms in metals(count, seed=first)]
    return table_of([replace(s, source=f"x#{first + n}") for n, s in enumerate(structures)])


@pytest.fixture
def folder(tmp_path):
    flat.write(tmp_path / "train", lambda: [table(0), table(3)])
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


@pytest.mark.parametrize("name", [*flat.OF_ATOMS, *flat.OF_EDGES])
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


def test_the_memory_of_writing_does_not_grow_with_the_set(tmp_path):
    rows = table(count=10)

    def peak(count):
        tracemalloc.start()
        flat.write(tmp_path / str(count), lambda: (rows for _ in range(count)))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(1)  # what is imported or made once
    of_few = peak(2)
    assert peak(60) < 2 * of_few  # 30 times the set; the rest is one row a structure
    sizes = [(tmp_path / str(n) / "neighbors.npy").stat().st_size - 128 for n in (2, 60)]
    assert sizes[1] == 30 * sizes[0] > 20 * of_few / 10
