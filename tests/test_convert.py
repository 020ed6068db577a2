"""`lightpfp-ray convert`: nothing is lost, and nothing half-written is left."""

from dataclasses import replace

import pytest
from ase.io import read as ase_read
from click.testing import CliRunner

from lightpfp_ray.cli.convert import convert
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.read import blocks_of, read_as_written
from lightpfp_ray.data.write import writing
from lightpfp_ray.errors import UserError

from .data_samples import metals, oddities, written
from .test_data_read import assert_same


def run(*arguments):
    return CliRunner().invoke(convert, [str(a) for a in arguments], catch_exceptions=False)


def as_written(path):
    return [s for block in blocks_of(path, path.name) for s in read_as_written(block)]


def test_a_way_through_all_formats_ends_where_it_began(tmp_path):
    start = written(tmp_path / "0.traj", metals(20) + oddities())
    path = start
    for n, suffix in enumerate(("extxyz", "h5", "parquet", "extxyz.xz"), 1):
        there = tmp_path / f"{n}.{suffix}"
        assert "wrote 24 structures" in run(path, there).output
        path = there
    assert_same(as_written(path), as_written(start))


def test_ase_reads_what_is_written(tmp_path):
    images = metals(5)
    run(written(tmp_path / "a.traj", images), tmp_path / "a.extxyz")
    assert_same(
        [structure_of(a) for a in ase_read(tmp_path / "a.extxyz", ":")],
        [structure_of(a) for a in images],
    )


def test_cfg_numbers_the_elements_in_the_order_that_is_asked_for(tmp_path):
    images = metals(12)
    path = written(tmp_path / "a.traj", images)
    run(path, tmp_path / "a.cfg", "--species", "Ni,Cu,Al")
    first = (tmp_path / "a.cfg").read_text().split("AtomData", 1)[1].splitlines()[1].split()
    assert int(first[1]) == ["Ni", "Cu", "Al"].index(images[0].get_chemical_symbols()[0])
    assert_same(as_written(tmp_path / "a.cfg"), [structure_of(a) for a in images])


def test_what_is_there_is_kept_and_what_fails_leaves_nothing(tmp_path):
    path = written(tmp_path / "a.extxyz", metals(2))
    there = tmp_path / "b.extxyz"
    there.write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        run(path, there)
    with pytest.raises(UserError, match="is also read"):
        run(path, path, "--overwrite")
    path.write_text(path.read_text() + "1\nenergy=1\nQq 0 0 0\n")
    with pytest.raises(UserError, match="unknown element 'Qq'"):
        run(path, there, "--overwrite")
    assert there.read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.extxyz", "b.extxyz"]
    with pytest.raises(UserError, match=r"expected a name that ends in \.extxyz"):
        run(path, tmp_path / "c.traj")


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path):
    def interrupted():
        with writing(tmp_path / "a.h5") as add:
            add(structure_of(metals(1)[0]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["extxyz", "cfg", "h5", "parquet"])
def test_the_teacher_of_the_labels_is_kept(tmp_path, suffix):
    structure = replace(structure_of(metals(1)[0]), teacher='A "net" 0.3 (net 1.2)')
    with writing(tmp_path / f"a.{suffix}") as add:
        add(structure)
    assert [s.teacher for s in as_written(tmp_path / f"a.{suffix}")] == ['A "net" 0.3 (net 1.2)']
