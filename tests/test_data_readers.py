"""Every format gives the same structures; the dialects of many codes are read, or refused with a
way out.
"""

import gzip
import pickle
import sqlite3
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ase.db import connect
from ase.io import read as ase_read

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.keys import Keys
from lightpfp_ray.data.read import blocks_of, expand_paths, read_block, read_structures
from lightpfp_ray.data.schema import content_hash
from lightpfp_ray.data.write import writing
from lightpfp_ray.errors import UserError
from lightpfp_ray.units import GPA_PER_EV_A3

from .data_samples import metals, oddities, written
from .test_data_read import assert_same
from .vasp_samples import outcar, steps, vasprun

FORMATS = ("extxyz", "extxyz.gz", "cfg", "cfg.xz", "h5", "parquet")


def samples(count):
    """Structures with all labels, and some that lack labels, a cell or periodicity."""
    found = [structure_of(atoms) for atoms in metals(count - 4) + oddities()]
    found[0] = replace(found[0], weight=0.3, group='a "slab"')
    return [s if s.pbc.all() else replace(s, stress=None) for s in found]


def saved(path, structures):
    with writing(path) as add:
        for structure in structures:
            add(structure)
    return path


def one(path, keys=None):
    (structure,) = read_structures(path, keys or Keys())
    return structure


def frame(comment, columns="species:S:1:pos:R:3", row="Si 0 0 0"):
    return f'1\nLattice="5 0 0 0 5 0 0 0 5" Properties={columns} {comment}\n{row}\n'


def test_200_structures_are_the_same_in_every_format(tmp_path):
    structures = samples(200)
    hashes = [content_hash(s) for s in structures]
    for name in FORMATS:
        path = saved(tmp_path / f"a.{name}", structures)
        found = list(read_structures(path))
        assert_same(found, structures)
        assert [content_hash(s) for s in found] == hashes, name
        assert [(s.weight, s.group) for s in found] == [(s.weight, s.group) for s in structures]
        blocks = blocks_of(path, "a", size=37)
        assert [b.first for b in blocks] == [0, 37, 74, 111, 148, 185]
        assert [content_hash(s) for b in blocks for s in read_block(b)] == hashes, name


def test_the_files_of_ase_hold_the_same_structures(tmp_path):
    images = metals(6)
    hashes = [content_hash(structure_of(atoms)) for atoms in images]
    written(tmp_path / "a.traj", images)
    with connect(tmp_path / "a.db") as database:
        for atoms in images:
            database.write(atoms, config_type="bulk")
    for name in ("a.traj", "a.db"):
        blocks = blocks_of(tmp_path / name, name, size=4)
        assert [b.first for b in blocks] == [0, 4]
        assert [content_hash(s) for b in blocks for s in read_block(b)] == hashes
    assert {s.group for s in read_structures(tmp_path / "a.db")} == {"bulk"}


def test_a_format_is_known_by_how_the_file_begins(tmp_path):
    structures = samples(6)
    for name in ("cfg", "h5", "parquet"):
        path = saved(tmp_path / f"a.{name}", structures).rename(tmp_path / "data.bin")
        assert_same(list(read_structures(path)), structures)
    (tmp_path / "steps").write_text(outcar(steps(2)))
    assert len(list(read_structures(tmp_path / "steps"))) == 2


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_every_ionic_step_of_vasp_is_read_as_ase_reads_it(tmp_path, name):
    found = steps(5)
    path = tmp_path / name
    path.write_text(outcar(found) if name == "OUTCAR" else vasprun(found, pstress=20.0))
    ours = list(read_structures(path))
    # ASE turns PSTRESS of a vasprun.xml into eV with an older electron volt: 3e-6 of 0.8 eV
    assert_same(ours, [structure_of(a) for a in ase_read(path, ":")], atol=1e-6)
    for structure, step in zip(ours, found, strict=True):
        tension = -0.1 / GPA_PER_EV_A3 * step["kilobar"]
        six = [tension[i] for i in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
        np.testing.assert_allclose(structure.stress, six, atol=1e-12)
        np.testing.assert_allclose(structure.positions, step["positions"], atol=1e-8)
        assert structure.energy == pytest.approx(step["zero"], abs=1e-7)
    free = read_structures(path, Keys(energy="free_energy"))
    assert [s.energy for s in free] == pytest.approx([s["free"] for s in found], abs=1e-7)
    pieces = [s for block in blocks_of(path, "a", size=2) for s in read_block(block)]
    assert_same(pieces, ours)


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_a_vasp_file_of_a_job_that_was_stopped_gives_its_whole_steps(tmp_path, name):
    text = outcar(steps(3)) if name == "OUTCAR" else vasprun(steps(3))
    path = tmp_path / f"{name}.gz" if name == "OUTCAR" else tmp_path / name
    content = text[:-300].encode()
    path.write_bytes(gzip.compress(content) if name == "OUTCAR" else content)
    assert len(list(read_structures(path))) == 2


def test_what_vasp_could_not_print_is_nan(tmp_path):
    text = outcar(steps(1)).splitlines(keepends=True)
    line = next(n for n, line in enumerate(text) if "in kB" in line)
    text[line] = "  in kB   ************  -27.36149  -12.54217    6.57101  -14.61834    3.96611\n"
    (tmp_path / "OUTCAR").write_text("".join(text))
    stress = one(tmp_path / "OUTCAR").stress
    assert np.isnan(stress[0])
    assert np.isfinite(stress[1:]).all()


MLIP = """BEGIN_CFG
 Size
    2
 Supercell
         4.0      0.0      0.0
         0.0      5.0      0.0
         0.0      0.0      6.0
 AtomData:  id type       cartes_x      cartes_y      cartes_z           fx          fy          fz
             1    0       0.000000      0.000000      0.000000     0.100000    0.200000    0.300000
             2    1       2.000000      2.500000      3.000000    -0.100000   -0.200000   -0.300000
 Energy
        -9.500000000000
 PlusStress:  xx          yy          zz          yz          xz          xy
         1.20000     2.40000     3.60000     0.12000     0.24000     0.36000
 Feature   EFS_by       VASP
END_CFG

"""


def test_mlip_cfg_is_read_with_the_species_that_are_named(tmp_path):
    path = tmp_path / "a.cfg"
    path.write_text(MLIP * 3)
    structure = list(read_structures(path, Keys(species="In,P")))[2]
    assert structure.numbers.tolist() == [49, 15]
    assert structure.cell.tolist() == np.diag([4.0, 5, 6]).tolist()
    assert structure.forces[1].tolist() == [-0.1, -0.2, -0.3]
    expected = -np.array([1.2, 2.4, 3.6, 0.12, 0.24, 0.36]) / 120
    np.testing.assert_allclose(structure.stress, expected, rtol=1e-15)
    with pytest.raises(UserError, match="--key species=In,P"):
        list(read_structures(path))
    with pytest.raises(UserError, match="type 1 found, but 1 species"):
        list(read_structures(path, Keys(species="In")))


def test_the_hdf5_of_lightpfp_is_read(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for n in range(2):
            group = file.create_group(f"{n:06d}")
            group["cell"], group["pbc"] = 5.0 * np.eye(3, dtype="f4"), np.ones(3, bool)
            group["numbers"], group["positions"] = np.array([14, 14]), np.eye(2, 3)
            group["potential_energy"], group["forces"] = -3.0 - n, np.ones((2, 3))
            group["stress"] = np.arange(6.0)
    first, second = read_structures(path)
    assert (first.energy, second.energy, first.weight) == (-3.0, -4.0, 1.0)
    assert first.stress.tolist() == [0, 1, 2, 3, 4, 5]
    with h5py.File(path, "a") as file:
        del file["000001/forces"]
        file["000001/forces"] = np.ones((3, 3))
    with pytest.raises(UserError, match=r"structure 1: /000001/forces holds float64 \(3, 3\)"):
        list(read_structures(path))


@pytest.mark.parametrize("name", ["energy", "REF_energy", "Energy", "free_energy", "dft_energy"])
def test_an_energy_has_many_names(tmp_path, name):
    (tmp_path / "a.xyz").write_text(frame(f"{name}=-3.5"))
    assert one(tmp_path / "a.xyz").energy == -3.5


@pytest.mark.parametrize("name", ["forces", "force", "REF_forces", "dft_forces", "Force"])
def test_forces_have_many_names(tmp_path, name):
    text = frame("energy=1", f"species:S:1:pos:R:3:Z:I:1:{name}:R:3", "Si 0 0 0 14 1 2 3")
    (tmp_path / "a.xyz").write_text(text)
    assert one(tmp_path / "a.xyz").forces.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    "entry",
    [
        'stress="1 6 5 6 2 4 5 4 3"',
        "REF_stress='1 2 3 4 5 6'",
        "dft_stress={1 2 3 4 5 6}",
        "stress=[[1, 6, 5], [6, 2, 4], [5, 4, 3]]",
        'virial="-125 -750 -625 -750 -250 -500 -625 -500 -375"',
        'REF_virials="-125 -250 -375 -500 -625 -750"',
        'stress="1 2 3 4 5 6" virial="-125 -250 -375 -500 -625 -750"',
    ],
)
def test_a_stress_has_6_or_9_numbers_or_is_a_virial(tmp_path, entry):
    (tmp_path / "a.xyz").write_text(frame(entry))
    np.testing.assert_allclose(one(tmp_path / "a.xyz").stress, [1, 2, 3, 4, 5, 6], rtol=1e-14)


def test_two_names_with_other_values_are_refused_and_a_key_says_which(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(frame("energy=-1.0 REF_energy=-2.0 free_energy=-3.0"))
    with pytest.raises(UserError, match="--key energy=energy or --key energy=REF_energy"):
        one(path)
    assert one(path, Keys.of(["energy=REF_energy"])).energy == -2.0
    assert one(path, Keys.of(["energy=missing"])).energy is None
    path.write_text(frame("energy=-1.0 REF_energy=-1.0 free_energy=-3.0"))
    assert one(path).energy == -1.0
    path.write_text(frame('stress="1 2 3 4 5 6" virial="125 250 375 500 625 750"'))
    with pytest.raises(UserError, match="--key stress=stress or --key virial=virial"):
        one(path)
    stress = one(path, Keys.of(["virial=virial"])).stress
    np.testing.assert_allclose(stress, [-1, -2, -3, -4, -5, -6], rtol=1e-14)
    with pytest.raises(UserError, match="expected LABEL=NAME"):
        Keys.of(["enrgy=x"])


@pytest.mark.parametrize(
    ("comment", "expected"),
    [('pbc="T T F"', [1, 1, 0]), ("pbc=[T, F, F]", [1, 0, 0]), ("", [1, 1, 1]), ("pbc=F", [0] * 3)],
)
def test_pbc_is_said_or_follows_from_the_lattice(tmp_path, comment, expected):
    (tmp_path / "a.xyz").write_text(frame(f"energy=1 {comment}"))
    assert one(tmp_path / "a.xyz").pbc.tolist() == [bool(flag) for flag in expected]
    (tmp_path / "b.xyz").write_text("1\na comment without anything\nSi 0 0 0 9 9\n")
    assert not one(tmp_path / "b.xyz").pbc.any()


def test_groups_and_weights_have_names_of_their_own(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(frame('energy=1 config_type="a b" config_weight=2 group=other kind=mine'))
    assert (one(path).group, one(path).weight) == ("a b", 2.0)
    assert one(path, Keys(group="kind")).group == "mine"


def test_a_folder_and_a_compressed_file_are_read(tmp_path):
    structures = samples(6)
    for name in FORMATS:
        saved(tmp_path / f"a.{name}", structures)
    paths = expand_paths([str(tmp_path)])
    assert {path.name for path in paths} == {f"a.{name}" for name in FORMATS}


@pytest.mark.parametrize("name", ["a.pkl", "a.traj", "a.npz", "a.npy", "a.h5"])
def test_nothing_that_can_hold_code_is_read(tmp_path, name):
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, energy=1.0)
    elif name.endswith("npy"):
        np.save(path, np.zeros(3))
    else:
        path.write_bytes(pickle.dumps({"energy": 1}))
    with pytest.raises(UserError, match="which is not read: convert it"):
        list(read_structures(path))


def test_a_database_of_others_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as database:
        database.execute("create table mine (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match="no table systems found"):
        list(read_structures(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "why"),
    [("BEGIN_CFG", "END_CFG without BEGIN_CFG"), ("END_CFG", "BEGIN_CFG within a block")],
)
def test_a_cfg_without_one_of_its_marks_is_refused(tmp_path, line, why):
    path = tmp_path / "a.cfg"
    path.write_text(MLIP + MLIP.replace(f"{line}\n", "") + MLIP)
    with pytest.raises(UserError, match=why):
        blocks_of(path, "a")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (frame("energy=1", row="Si 0 0"), "3 columns found"),
        (frame("energy=1 2"[:8], "species:S:1:pos:R:x"), "name:type:columns expected"),
        (frame("energy=one"), "could not convert"),
        (frame("").replace("5 0 0 0 5", "5 0 0"), "Lattice holds 7 numbers, 9 expected"),
        (frame('stress="1 2 3"'), "stress holds 3 numbers, 6 or 9 expected"),
        (frame('pbc="T T"'), "pbc='T T' found"),
        ("99999999999\n\nSi 0 0 0\n", "99999999999 atoms found, at most"),
        ("-1\n\nSi 0 0 0\n", "-1 atoms found"),
    ],
)
def test_a_damaged_structure_is_refused_with_its_number(tmp_path, text, why):
    path = tmp_path / "a.xyz"
    path.write_text(frame("energy=1") + text)
    with pytest.raises(UserError, match=f"at structure 1.*{why}") as caught:
        list(read_structures(path))
    assert "\n" not in str(caught.value)
