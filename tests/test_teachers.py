"""Teachers: labels that are derivatives of one energy, and a reason where there are none."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.errors import UserError
from lightpfp_ray.teachers import Failure, load_teacher
from lightpfp_ray.units import VOIGT

EMT = "ase.calculators.emt:EMT"

CHGNET, GFN1, GFN2 = "chgnet", "tblite:GFN1-xTB", "tblite:GFN2-xTB"


@pytest.fixture(scope="module")
def teacher_named():
    """A teacher by its name, loaded once; skips where its package is not installed."""
    loaded = {}

    def load(name):
        if name != EMT:
            pytest.importorskip(name.partition(":")[0], reason="the extra `teacher`")
        if name not in loaded:
            loaded[name] = load_teacher(name)
        return loaded[name]

    return load


def strained(atoms, seed=1):
    """Rattled, and of a triclinic cell."""
    rng = np.random.default_rng(seed)
    deformation = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
    return structure_of(atoms)


def energies(teacher, structures):
    return np.array([labelled.energy for labelled in teacher.label(structures)])


def slope(teacher, moved, step):
    """Central difference of the energy of `moved(h)` at h = 0."""
    plus, minus = energies(teacher, [moved(step), moved(-step)])
    return (plus - minus) / (2 * step)


def along_position(structure, atom, axis):
    def moved(h):
        positions = structure.positions.copy()
        positions[atom, axis] += h
        return replace(structure, positions=positions)

    return moved


def along_strain(structure, i, j):
    def moved(h):
        strain = np.eye(3)
        strain[i, j] += h / 2
        strain[j, i] += h / 2
        cell, positions = structure.cell @ strain, structure.positions @ strain
        return replace(structure, cell=cell, positions=positions)

    return moved


# CHGNet is float32: 1e-6 eV over a step of 3e-3 A, and third derivatives. tblite cuts its sums over
# images, which a small cell feels.
@pytest.mark.parametrize(
    ("name", "crystal", "step", "force_error", "stress_error"),
    [
        (EMT, "Al", 1e-4, 1e-6, 1e-8),
        (CHGNET, "Al", 3e-3, 2e-3, 5e-5),
        (GFN1, "Si", 1e-3, 1e-4, 1e-4),
        (GFN2, "Si", 1e-3, 1e-4, 1e-4),
    ],
)
def test_forces_and_stress_of_a_crystal_are_derivatives_of_its_energy(
    teacher_named, name, crystal, step, force_error, stress_error
):
    teacher = teacher_named(name)
    structure = strained(bulk(crystal, cubic=True))
    (found,) = teacher.label([structure])
    force = -slope(teacher, along_position(structure, 1, 2), step)
    assert force == pytest.approx(found.forces[1, 2], abs=force_error)
    volume = abs(np.linalg.det(structure.cell))
    stress = [slope(teacher, along_strain(structure, i, j), step) / volume for i, j in VOIGT]
    np.testing.assert_allclose(stress, found.stress, rtol=0, atol=stress_error)
    assert np.abs(found.stress).max() > 100 * stress_error


@pytest.mark.parametrize("name", [GFN1, GFN2])
def test_forces_of_a_molecule_are_derivatives_and_it_has_no_stress(teacher_named, name):
    teacher = teacher_named(name)
    ethanol = molecule("CH3CH2OH")
    ethanol.rattle(0.05, seed=0)
    structure = structure_of(ethanol)
    (found,) = teacher.label([structure])
    for atom, axis in ((0, 0), (3, 1), (8, 2)):
        force = -slope(teacher, along_position(structure, atom, axis), 1e-3)
        assert force == pytest.approx(found.forces[atom, axis], abs=2e-4)
    assert found.stress is None
    assert found.teacher == teacher.title
    assert name.partition(":")[2] in teacher.title


@pytest.mark.parametrize(("name", "crystal"), [(EMT, "Al"), (CHGNET, "Al"), (GFN1, "Si")])
def test_a_left_handed_cell_has_the_stress_of_the_right_handed_one(teacher_named, name, crystal):
    right = strained(bulk(crystal, cubic=True))
    left = replace(right, cell=right.cell[[1, 0, 2]])
    found = teacher_named(name).label([right, left])
    np.testing.assert_allclose(found[0].stress, found[1].stress, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("name", "crystal"), [(EMT, "Al"), (CHGNET, "Al"), (GFN2, "Si")])
def test_a_structure_does_not_change_the_labels_of_another(teacher_named, name, crystal):
    teacher = teacher_named(name)
    first, second = (strained(bulk(crystal, cubic=True), seed) for seed in (2, 3))
    together, alone = teacher.label([first, second])[1], teacher.label([second])[0]
    # Sums of threads come in any order; one kept density would move forces by 1e-5 eV/A.
    assert together.energy == pytest.approx(alone.energy, rel=1e-12)
    np.testing.assert_allclose(together.forces, alone.forces, rtol=0, atol=1e-10)


def test_tight_binding_refuses_what_it_would_take_for_something_else(teacher_named):
    slab, lanthanum = fcc111("Al", (3, 3, 2), vacuum=10), Atoms("La2", [[0, 0, 0], [0, 0, 2.5]])
    structures = map(structure_of, (bulk("Si"), slab, molecule("H2O"), bulk("Fr", "bcc", a=5)))
    *found, unconverged = teacher_named(GFN1).label([*structures, structure_of(lanthanum)])
    assert [getattr(each, "reason", None) for each in found] == [
        "cell thinner than 5 A, too small for the Gamma point alone",
        "periodic along some directions, tblite knows three or none",
        None,
        "GFN1-xTB does not know Fr",
    ]
    assert "SCF not converged" in unconverged.reason


def test_chgnet_sees_no_image_where_there_is_none(teacher_named):
    teacher = teacher_named(CHGNET)
    slab = fcc111("Al", (2, 2, 2), vacuum=10)
    slab.rattle(0.05, seed=0)
    thick, bare = slab.copy(), slab.copy()
    thick.pbc = True
    bare.cell[2] = 0
    with_image, without = teacher.label([structure_of(thick), structure_of(bare)])
    assert with_image.energy == pytest.approx(without.energy, rel=1e-6)  # float32
    assert with_image.stress is not None
    assert without.stress is None
    water, turned = (molecule("H2O") for _ in range(2))
    turned.rotate(40, (1, 2, 3))
    assert np.ptp(energies(teacher, [structure_of(water), structure_of(turned)])) < 1e-5


def test_chgnet_knows_89_elements(teacher_named):
    teacher = teacher_named(CHGNET)
    assert len(teacher.elements) == 89
    assert {"H", "Al", "Xe", "Pu"} < teacher.elements
    polonium, alone = structure_of(bulk("Po", "sc", a=3.3)), structure_of(Atoms("Al"))
    assert [failure.reason for failure in teacher.label([polonium, alone])] == [
        "CHGNet does not know Po",
        "an atom has no neighbor within the 6 A of CHGNet",
    ]


def test_what_cannot_be_labelled_is_told_in_its_place(teacher_named):
    good = structure_of(bulk("Cu", cubic=True))
    close = replace(good, positions=0.01 * good.positions, source="a#1")
    flat = replace(good, cell=good.cell * [1, 1, 0], source="a#2")
    foreign = replace(structure_of(bulk("Si")), source="a#3")
    found = teacher_named(EMT).label([good, close, flat, foreign, good])
    assert found[1:4] == [
        Failure("a#1", "atoms closer than 0.1 A"),
        Failure("a#2", "periodic, but the cell has no volume"),
        Failure("a#3", "NotImplementedError: No EMT-potential for Si"),
    ]
    assert found[0].energy == found[4].energy


def test_labels_that_were_there_are_replaced_and_the_rest_is_kept(teacher_named):
    structure = replace(
        structure_of(bulk("Cu", cubic=True)), energy=9.0, group="fcc", weight=2.0, source="a#0"
    )
    (found,) = teacher_named(EMT).label([structure])
    assert (found.group, found.weight, found.source) == ("fcc", 2.0, "a#0")
    assert found.energy < 1


def test_a_number_that_is_none_is_a_failure(tmp_path):
    (tmp_path / "broken_teacher.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Broken(EMT):\n"
        "    def calculate(self, *arguments):\n"
        "        super().calculate(*arguments)\n"
        "        self.results['forces'][0] = float('nan')\n"
    )
    teacher = load_teacher("broken_teacher:Broken", tmp_path)
    (failure,) = teacher.label([structure_of(bulk("Cu"))])
    assert failure.reason == "NaN or infinite label"
    assert teacher.version.startswith("(sha256 ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mace", "expected one of chgnet, tblite:GFN1-xTB, tblite:GFN2-xTB, MODULE:CALLABLE"),
        ("tblite:AM1", "expected one of chgnet"),
        ("not_there:calculator", "No module named 'not_there'"),
        ("ase.build:not_there", "has no attribute 'not_there'"),
        ("builtins:list", "gives a list, expected an ASE calculator"),
        ("ase.build:bulk", "cannot be loaded"),
    ],
)
def test_a_name_that_is_no_teacher_is_refused_in_one_line(name, said, tmp_path):
    with pytest.raises(UserError) as caught:
        load_teacher(name, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
