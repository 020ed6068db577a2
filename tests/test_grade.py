"""The grade: no exchange enlarges the active set's volume, what was trained has at most 1, and what
lies outside has more.
"""

import json

import numpy as np
import pytest
import torch
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from click.testing import CliRunner

from lightpfp_ray import Potential, grade, load
from lightpfp_ray.calculator import MTPCalculator
from lightpfp_ray.cli import commands
from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.errors import UserError
from lightpfp_ray.grade import active_set
from lightpfp_ray.maxvol import START, TOLERANCE, MaxVol, inverse
from lightpfp_ray.watch import Extrapolation, GradeWatch

from .test_calculator import ALLOY, moved
from .test_laws import CUTOFF, potential

LARGEST = 1 + TOLERANCE + 1e-6  # the inverse is as exact as its condition allows


def spanned(blocks, n):
    """A matrix that was shown all blocks until it exchanges nothing."""
    found = MaxVol(n)
    while sum([found.show(X) for X in blocks]):
        pass
    return found


def blocks_of(seed, n, m, spread):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n)) @ np.diag(10.0 ** rng.uniform(-spread, spread, n))
    return np.array_split(X @ rng.normal(size=(n, n)), 3)


@pytest.mark.parametrize("spread", [0, 2])
@pytest.mark.parametrize("n", [1, 5, 12])
def test_no_exchange_of_a_row_enlarges_the_volume(n, spread):
    blocks = blocks_of(n, n, 80, spread)
    found = spanned(blocks, n)
    assert np.abs(np.concatenate(blocks) @ inverse(found.rows)).max() <= LARGEST
    assert not found.is_start.any()


def test_the_volume_is_that_of_an_outside_code():
    maxvol = pytest.importorskip("motep.grade.maxvol", reason="motep is not installed")
    X = np.concatenate(blocks_of(3, 8, 200, 1))
    theirs = maxvol.MaxVol(threshold=1e-9).run(X).submatrix
    ours = spanned([X], 8).rows
    # both are local maxima; the largest determinant over all choices is at most 8^(8/2) of either
    ratio = np.linalg.slogdet(ours).logabsdet - np.linalg.slogdet(theirs).logabsdet
    assert abs(ratio) < 0.5


def test_fewer_rows_than_columns_leave_directions_that_were_not_seen():
    X = np.random.default_rng(0).normal(size=(3, 5))
    found = spanned([X], 5)
    assert found.is_start.sum() == 2
    assert np.abs(X @ inverse(found.rows)).max() <= LARGEST
    seen, unseen = X[0] - X[1], np.linalg.svd(X)[2][-1]
    assert np.abs(seen @ inverse(found.rows)).max() < 3
    assert np.abs(unseen @ inverse(found.rows)).max() > 0.1 / START


def test_a_column_that_is_zero_at_first_is_taken_at_its_own_size():
    X = np.random.default_rng(0).normal(size=(40, 4)) * [1, 1, 1, 1e-8]
    first = X * [1, 1, 1, 0]
    found = spanned([first, X], 4)
    assert not found.is_start.any()
    assert np.abs(X @ inverse(found.rows)).max() <= LARGEST


def batch_of(*frames):
    return batch_from_structures([structure_of(atoms) for atoms in frames], CUTOFF)


FRAMES = [moved(ALLOY, 0.1, seed) for seed in range(12)]
TRAINING = [batch_of(*FRAMES[:5]), batch_of(*FRAMES[5:])]


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
def test_grades_of_the_training_set_are_at_most_one(widths):
    model = potential(widths)
    found = active_set(model, TRAINING)
    for batch in TRAINING:
        assert found.grades(model, batch).max() <= LARGEST
        assert found.structure_grades(model, batch).max() <= LARGEST
    assert list(found.atoms) == [13, 28]


def test_an_atom_far_from_the_training_set_has_a_large_grade():
    model = potential()
    found = active_set(model, TRAINING)
    usual, far = batch_of(moved(ALLOY, 0.1, 99)), ALLOY.copy()
    far.set_distance(0, 1, 1.6, fix=0)
    assert np.median(found.grades(model, usual)) < 1.5
    grades = found.grades(model, batch_of(far))
    assert grades.max() > 10
    assert found.structure_grades(model, batch_of(far))[0] > 1.5


def test_the_energy_of_a_graded_atom_is_a_sum_over_the_active_set():
    """The meaning of c_ij: a linear potential's energy of an atom follows from those it knows."""
    model = potential()
    found = active_set(model, TRAINING)
    atoms = moved(ALLOY, 0.1, 99)
    energies = MTPCalculator(model).get_potential_energies(atoms)
    basis = model.site_basis(batch_of(atoms), batch_of(atoms).edge_vectors()).detach().numpy()
    for z, rows in found.atoms.items():
        own = atoms.numbers == z
        parameters = np.append(
            model.species_coeffs.detach()[model.species.index(z)],
            model.readout.moment_coeffs.detach().numpy(),
        )
        c = np.column_stack([np.ones(own.sum()), basis[own]]) @ inverse(rows)
        np.testing.assert_allclose(c @ (rows @ parameters), energies[own], rtol=1e-6)


def test_a_larger_cell_of_the_same_crystal_has_the_same_grades():
    model = potential()
    found = active_set(model, TRAINING)
    one, many = batch_of(ALLOY), batch_of(ALLOY.repeat((2, 1, 1)))
    assert found.grades(model, many).max() == pytest.approx(
        found.grades(model, one).max(), rel=1e-6
    )
    assert found.structure_grades(model, many)[0] == pytest.approx(
        found.structure_grades(model, one)[0], rel=1e-6
    )


def test_a_species_that_was_not_trained_is_infinitely_far():
    model = potential()
    pure = ALLOY.copy()
    pure.numbers[:] = 13
    found = active_set(model, [batch_of(moved(pure, 0.1, i)) for i in range(3)])
    grades = found.grades(model, batch_of(ALLOY))
    assert np.isinf(grades[ALLOY.numbers == 28]).all()


def test_single_precision_does_not_look_like_extrapolation():
    model = potential().float()
    found = active_set(model, TRAINING)
    assert max(found.grades(model, batch).max() for batch in TRAINING) <= LARGEST


def test_too_few_passes_are_told(monkeypatch, caplog):
    monkeypatch.setattr(grade, "MAX_PASSES", 1)
    active_set(potential(), TRAINING)
    assert "still growing after 1 passes" in caplog.text


def test_a_generator_is_refused_since_it_is_passed_over_several_times():
    with pytest.raises(TypeError, match="list"):
        active_set(potential(), iter(TRAINING))


@pytest.fixture(scope="module")
def graded():
    model = potential()
    return Potential(model, {}, active_set(model, TRAINING))


def test_the_active_set_is_saved_with_the_potential(graded, tmp_path):
    graded.save(tmp_path)
    loaded = load(tmp_path)
    batch = TRAINING[0]
    np.testing.assert_array_equal(
        loaded.active_set.grades(loaded.model, batch),
        graded.active_set.grades(graded.model, batch),
    )
    Potential(graded.model, {}).save(tmp_path)
    assert load(tmp_path).active_set is None


def test_the_active_set_of_another_potential_is_refused(graded, tmp_path):
    other = potential()
    with torch.no_grad():
        other.radial_coeffs *= 1.1
    Potential(other, {}).save(tmp_path)
    graded.active_set.save(tmp_path)
    with pytest.raises(UserError, match="another potential"):
        load(tmp_path)


def test_the_calculator_grades_on_demand(graded):
    atoms = ALLOY.copy()
    atoms.calc = graded.calculator()
    atoms.get_forces()
    assert "grade" not in atoms.calc.results
    grade = atoms.calc.get_property("grade", atoms)
    grades = graded.active_set.grades(graded.model, batch_of(atoms))
    assert grade == pytest.approx(grades.max(), rel=1e-9)
    np.testing.assert_allclose(atoms.calc.results["grades"], grades, rtol=1e-9)
    assert "forces" in atoms.calc.results


def test_a_potential_without_an_active_set_has_no_grade():
    atoms = ALLOY.copy()
    atoms.calc = Potential(potential(), {}).calculator()
    with pytest.raises(UserError, match="no active set"):
        GradeWatch(atoms)


def pushed_together(atoms):
    """Dynamics that begins with one atom on its way to another, 0.1 A a step."""
    momenta = np.zeros((len(atoms), 3))
    towards = atoms.get_distance(0, 1, mic=True, vector=True)
    momenta[0] = atoms.get_masses()[0] * towards / np.linalg.norm(towards)
    atoms.set_momenta(momenta)
    return VelocityVerlet(atoms, 0.1)


def test_dynamics_saves_frames_and_stops_beyond_the_grade(graded, tmp_path):
    atoms, file = ALLOY.copy(), tmp_path / "extrapolating.extxyz"
    atoms.calc = graded.calculator()
    watch = GradeWatch(atoms, file, save_above=2.0, stop_above=10.0)
    dynamics = pushed_together(atoms)
    dynamics.attach(watch, interval=1)
    with pytest.raises(Extrapolation, match="label the frames in"):
        dynamics.run(30)
    frames = read(file, ":")
    assert len(frames) == watch.saved > 1
    assert all(frame.info["grade"] > 2.0 for frame in frames)
    assert watch.largest > 10
    assert frames[-1].info["grade"] == pytest.approx(watch.largest, rel=1e-6)
    assert frames[-1].arrays["grades"].max() == pytest.approx(watch.largest, rel=1e-6)
    assert frames[-1].calc is None


def run(*arguments):
    return CliRunner().invoke(commands, ["grade", *map(str, arguments)])


def test_the_command_computes_keeps_and_shows_grades(tmp_path):
    write(tmp_path / "train.extxyz", FRAMES)
    close = ALLOY.copy()
    close.set_distance(0, 1, 1.6, fix=0)
    write(tmp_path / "new.extxyz", [FRAMES[3], close])
    Potential(potential(), {}).save(tmp_path / "run" / "potential")
    missing = run(tmp_path / "run", "--data", tmp_path / "new.extxyz")
    assert isinstance(missing.exception, UserError)
    assert "--training-data" in str(missing.exception)
    done = run(
        tmp_path / "run",
        "--data",
        tmp_path / "new.extxyz",
        "--training-data",
        tmp_path / "train.extxyz",
    )
    assert "above 10: 1 structures" in done.output
    again = run(tmp_path / "run", "--data", tmp_path / "new.extxyz", "--json")
    known, far = json.loads(again.output)
    assert known["grade"] <= LARGEST
    assert far["grade"] > 10
    assert far["atom"] in (0, 1)
    assert far["source"].endswith("new.extxyz#1")
