"""Files of many kinds give the same structures; what is wrong with one is said in a line."""

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

from lightpfp_ray.data.read import blocks_of, expand_paths, read_block, read_structures
from lightpfp_ray.errors import UserError

from .data_samples import labelled, metals, oddities, written


def assert_same(first, second, atol=0.0):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
            x, y = getattr(a, name), getattr(b, name)
            assert (x is None) == (y is None), name
            if x is not None:
                np.testing.assert_allclose(x, y, rtol=0, atol=atol, err_msg=name)


def test_labels_are_those_that_were_written(tmp_path):
    images = metals(2)
    for name in ("a.extxyz", "a.traj", "a.json"):
        for atoms, found in zip(
            images, read_structures(written(tmp_path / name, images)), strict=True
        ):
            assert found.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
            np.testing.assert_allclose(found.forces, atoms.get_forces(), atol=1e-7)
            np.testing.assert_allclose(found.stress, atoms.get_stress(), atol=1e-7)
            np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-7)
    assert [s.source for s in read_structures(tmp_path / "a.traj")] == ["a.traj#0", "a.traj#1"]


def test_an_absent_label_is_none_and_stress_needs_three_periodic_vectors(tmp_path):
    cluster, atom, cell, slab = read_structures(written(tmp_path / "odd.extxyz", oddities()))
    assert (cluster.stress, atom.forces, cell.forces, slab.energy, slab.stress) == (None,) * 5
    assert cell.stress.tolist() == [0, 1, 2, 3, 4, 5]
    assert cluster.energy == -14.0


def test_the_free_energy_stands_in_for_an_energy_and_a_constraint_hides_no_force(tmp_path):
    atoms = metals(1)[0]
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, free_energy=-2.0, forces=np.ones((len(atoms), 3)))
    (found,) = read_structures(written(tmp_path / "a.traj", [atoms]))
    assert found.energy == -2.0
    assert (found.forces == 1).all()


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj"])
def test_blocks_are_the_file_cut_in_pieces(tmp_path, name):
    path = written(tmp_path / name, metals(7))
    blocks = blocks_of(path, "label", size=3)
    assert [b.first for b in blocks] == [0, 3, 6]
    pieces = [s for block in blocks for s in read_block(block)]
    assert_same(pieces, list(read_structures(path)))
    assert [s.source for s in pieces] == [f"label#{n}" for n in range(7)]


def test_paths_are_files_folders_and_globs_each_file_once(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    names = ("b.extxyz", "a.xyz", "deep/c.traj")
    for name in (*names, ".hidden/d.xyz", "notes.txt"):
        (tmp_path / name).touch()
    found = expand_paths([str(tmp_path / "*.xyz"), str(tmp_path), str(tmp_path / "notes.txt")])
    assert found == [tmp_path / name for name in ("a.xyz", "b.extxyz", "deep/c.traj", "notes.txt")]


def test_a_path_that_names_nothing_is_refused_with_the_nearest_name(tmp_path):
    written(tmp_path / "silicon.extxyz", metals(1))
    with pytest.raises(
        UserError, match=r"slicon\.extxyz: no such file.*Did you mean .*/silicon\.extxyz\?"
    ):
        expand_paths([str(tmp_path / "slicon.extxyz")])
    with pytest.raises(UserError, match="matches no file"):
        expand_paths([str(tmp_path / "*.traj")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no file of labelled structures"):
        expand_paths([str(tmp_path / "empty")])


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "OUTCAR", "vasprun.xml", "a.unknown"])
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty|holds no structure"),
        (b"rubbish \xff\n" * 9, "cannot be read|holds no structure"),
    ],
)
def test_a_file_that_is_no_data_is_refused_in_one_line(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=why) as caught:
        [list(read_block(block)) for block in blocks_of(path, path.name)]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_cut_off_or_names_no_element_is_refused(tmp_path):
    path = written(tmp_path / "a.extxyz", metals(3))
    path.write_text(path.read_text()[:-100].rsplit("\n", 1)[0])
    with pytest.raises(UserError, match="at structure 2: it is cut off"):
        blocks_of(path, "a")
    with pytest.raises(UserError, match="cannot be read at structure 2"):
        list(read_structures(path))
    path.write_text("1\nenergy=1.0\nQq 0 0 0\n")
    with pytest.raises(UserError, match="unknown element 'Qq'"):
        list(read_structures(path))


def test_a_stress_of_nine_numbers_is_a_tensor(tmp_path):
    atoms = labelled(metals(1)[0], energy=1.0)
    atoms.calc = None
    atoms.info["stress"] = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    write(tmp_path / "a.extxyz", atoms)
    (found,) = read_structures(tmp_path / "a.extxyz")
    assert found.stress.tolist() == [1, 2, 3, 4, 5, 6]


def test_weight_and_config_type_of_extended_xyz_are_weight_and_group(tmp_path):
    plain, weighted = metals(2)
    weighted.info.update(weight=2.5, config_type="slab")
    found = list(read_structures(written(tmp_path / "a.extxyz", [plain, weighted])))
    assert [(s.weight, s.group) for s in found] == [(1.0, ""), (2.5, "slab")]
    weighted.info["weight"] = "heavy"
    with pytest.raises(UserError, match=r"cannot be read at structure 0.*heavy"):
        list(read_structures(written(tmp_path / "b.extxyz", [weighted])))
