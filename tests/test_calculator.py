"""The calculator says what the engine says, however its edges were kept, copied or shared."""

import copy
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.units import fs

from lightpfp_ray.calculator import MTPCalculator
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.skin import MovingStructure
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.mtp import sites
from lightpfp_ray.mtp.engine import compiled

from .test_laws import CUTOFF, potential

ALLOY = bulk("Al", cubic=True).repeat((2, 2, 1))
ALLOY.numbers[::3] = 28
ALLOY.rattle(0.05, seed=1)

SLAB = fcc111("Al", (2, 2, 2), vacuum=6)
CLUSTER = Atoms("Al4", 2.7 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]))
FRAMES = {"crystal": ALLOY, "slab": SLAB, "cluster": CLUSTER, "atom": Atoms("Ni")}


def engine_says(atoms, model=None):
    structure = Structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    return (model or potential())(batch_from_structures([structure], CUTOFF))


def moved(atoms, step, seed):
    atoms = atoms.copy()
    atoms.positions += step * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return atoms


@pytest.mark.parametrize("kind", FRAMES)
def test_results_are_those_of_the_engine(kind):
    atoms = FRAMES[kind].copy()
    atoms.calc = MTPCalculator(potential())
    expected = engine_says(atoms)
    energy = float(expected.energy_S[0])
    assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-13)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert atoms.get_potential_energies().sum() == pytest.approx(energy, rel=1e-13)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces_A3, atol=1e-12)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), expected.stress_S6[0], atol=1e-13)
    else:
        for wanted in (atoms.get_stress, atoms.get_stresses):
            with pytest.raises(PropertyNotImplementedError):
                wanted()


def test_edges_beyond_the_cutoff_change_nothing():
    model, atoms = potential(), ALLOY
    structure = Structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    wide = batch_from_structures([structure], CUTOFF + 1)
    narrow = batch_from_structures([structure], CUTOFF)
    assert wide.n_edges > narrow.n_edges
    assert float(model(wide).energy_S) == pytest.approx(float(model(narrow).energy_S), rel=1e-14)
    np.testing.assert_allclose(model(wide).forces_A3, model(narrow).forces_A3, atol=1e-13)


def test_edges_are_searched_again_only_when_they_must_be():
    calculator = MTPCalculator(potential(), skin=0.5)
    calculator.get_forces(ALLOY)
    near = ALLOY.copy()
    near.positions[3] += [0.24, 0, 0]
    calculator.get_forces(near)
    assert calculator._moving.searches == 1
    far = ALLOY.copy()
    far.positions[3] += [0.26, 0, 0]
    strained, other = near.copy(), near.copy()
    strained.set_cell(0.85 * strained.cell, scale_atoms=True)
    other.numbers[0] = 13
    open_cell = near.copy()
    open_cell.pbc = [True, True, False]
    for n, atoms in enumerate((far, strained, other, open_cell), start=2):
        calculator.get_forces(atoms)
        assert calculator._moving.searches == n


def test_a_walk_of_the_atoms_gives_the_same_with_and_without_a_skin():
    calculator, atoms = MTPCalculator(potential(), skin=0.5), ALLOY
    for step in range(12):
        atoms = moved(atoms, 0.04, step)
        calculator.calculate(atoms)
        expected = engine_says(atoms)
        energy = calculator.results["energy"]
        assert energy == pytest.approx(float(expected.energy_S[0]), rel=1e-13)
        np.testing.assert_allclose(calculator.results["forces"], expected.forces_A3, atol=1e-12)
    assert 1 < calculator._moving.searches < 12


def test_a_breathing_cell_gives_the_same_with_and_without_a_skin():
    """As in NPT or a relaxation of the cell: edges are kept through small strains."""
    calculator, rng = MTPCalculator(potential(), skin=0.8), np.random.default_rng(4)
    atoms = ALLOY.copy()
    for step in range(24):
        strain = np.eye(3) + 0.01 * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        atoms = moved(atoms, 0.03, step)
        calculator.calculate(atoms)
        expected = engine_says(atoms)
        got = calculator.results
        assert got["energy"] == pytest.approx(float(expected.energy_S[0]), rel=1e-12)
        np.testing.assert_allclose(got["forces"], expected.forces_A3, atol=1e-11)
        np.testing.assert_allclose(got["stress"], expected.stress_S6[0], atol=1e-12)
    assert 1 < calculator._moving.searches < 16


def test_the_structure_that_was_given_may_be_changed_afterwards():
    atoms = ALLOY.copy()
    structure = Structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    moving = MovingStructure(CUTOFF, 0.5, 1.5)
    moving.batch(structure)
    atoms.positions[0] += 1.0
    moving.batch(structure)
    assert moving.searches == 2


def test_stresses_of_the_atoms_add_up_to_the_stress():
    atoms = ALLOY.copy()
    atoms.calc = MTPCalculator(potential())
    np.testing.assert_allclose(atoms.get_stresses().sum(0), atoms.get_stress(), atol=1e-13)


@pytest.mark.skipif(compiled.native() is None, reason="the compiled engine is not built")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
def test_atoms_are_described_alike_by_both_engines(monkeypatch, widths, dtype):
    model, frames = potential(widths).to(dtype), [ALLOY, SLAB, CLUSTER]
    structures = [Structure(a.numbers, a.positions, a.cell.array, a.pbc) for a in frames]
    batch = batch_from_structures(structures, CUTOFF + 0.5)
    native = sites.basis_functions(model, batch), sites.virials(model, batch)
    monkeypatch.setattr(compiled, "native", lambda: None)
    monkeypatch.setattr(sites, "BLOCK", 100)
    plain = sites.basis_functions(model, batch), sites.virials(model, batch)
    for one, other, exact in zip(native, plain, (1e-12, 100 * torch.finfo(dtype).eps), strict=True):
        np.testing.assert_allclose(one, other, atol=exact * float(other.abs().max()))


@pytest.mark.parametrize("widths", [(), (8, 8)], ids=["linear", "neural"])
def test_the_stress_of_an_atom_is_the_strain_derivative_of_its_energy(widths):
    h, atoms = 1e-5, ALLOY.copy()
    calculator = MTPCalculator(potential(widths))
    stresses = calculator.get_stresses(atoms)

    def energies(strain):
        deformed = atoms.copy()
        deformed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        return calculator.get_potential_energies(deformed)

    for k, (i, j) in enumerate([(0, 0), (1, 2)]):
        strain = np.zeros((3, 3))
        strain[i, j] = h
        expected = (energies(strain) - energies(-strain)) / (2 * h) / atoms.get_volume()
        np.testing.assert_allclose(stresses[:, (0, 3)[k]], expected, atol=1e-8)


def test_asking_for_more_keeps_what_was_found():
    atoms = ALLOY.copy()
    atoms.calc = MTPCalculator(potential())
    atoms.get_forces()
    before = atoms.calc.results["forces"]
    atoms.get_stresses()
    assert atoms.calc.results["forces"] is before


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_gives_the_same_and_goes_its_own_way(copied):
    one = MTPCalculator(potential())
    forces = one.get_forces(ALLOY)
    other = copied(one)
    other.get_forces(moved(ALLOY, 0.1, 3))
    np.testing.assert_array_equal(one.get_forces(ALLOY), forces)
    np.testing.assert_allclose(other.get_forces(ALLOY), forces, atol=1e-12)


def test_threads_with_calculators_of_one_model_do_not_disturb_each_other():
    model = potential()
    frames = [moved(ALLOY, 0.1, seed) for seed in range(8)]

    def forces(atoms):
        calculator = MTPCalculator(model)
        return [calculator.get_forces(moved(atoms, 0.01 * n, 0)) for n in range(4)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(forces, frames))
    for one, other in zip(together, map(forces, frames), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_pair_below_the_trained_distance_warns_once():
    calculator = MTPCalculator(potential())
    pair = Atoms("Al2", [[0, 0, 0], [1.51, 0, 0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        calculator.get_forces(pair)
    pair.positions[1, 0] = 1.49
    with pytest.warns(UserWarning, match=r"1\.490 A apart"):
        calculator.get_forces(pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.positions[1, 0] = 1.3
        calculator.get_forces(pair)


def test_energy_is_kept_over_a_trajectory():
    """Velocity Verlet with 1 fs: the error is of second order in the step and does not drift."""
    atoms = ALLOY.copy()
    atoms.calc = MTPCalculator(potential())
    thermalize_momenta(atoms, temperature_K=50, rng=np.random.default_rng(0))

    def total(step):
        run = atoms.copy()
        run.calc = MTPCalculator(potential())
        VelocityVerlet(run, step * fs).run(int(8 / step))
        return run.get_total_energy()

    begin = atoms.get_total_energy()
    coarse, fine = abs(total(0.2) - begin), abs(total(0.1) - begin)
    assert fine < 0.35 * coarse


def test_a_calculator_needs_neither_ray_nor_mlflow_installed():
    code = (
        "import sys; sys.modules['ray'] = sys.modules['mlflow'] = None;"
        "import lightpfp_ray.calculator, lightpfp_ray.mlip_format, lightpfp_ray.evaluation"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
