"""The sample set in configs/sample: what it promises, and that its script makes it."""

import importlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from lightpfp_ray.data.neighbors import edges

FOLDER = Path(__file__).parents[1] / "configs" / "sample"
DATA = FOLDER / "alloy.extxyz"
ELEMENTS = {"Al", "Co", "Cr", "Fe", "Ni"}
LARGEST_BYTES = 3e6


@pytest.fixture(scope="module")
def sample():
    return read(DATA, ":")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("make_alloy")


def test_the_folder_is_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir() if file.is_file()) < LARGEST_BYTES


def test_it_is_several_hundred_structures_of_the_five_elements(sample):
    assert 400 <= len(sample) <= 600
    assert {name for atoms in sample for name in atoms.symbols} == ELEMENTS
    assert all(7 <= len(atoms) <= 32 and atoms.pbc.all() for atoms in sample)


def test_every_structure_has_finite_labels(sample):
    for atoms in sample:
        results = atoms.calc.results
        assert set(results) == {"energy", "forces", "stress"}
        assert all(np.isfinite(value).all() for value in results.values())
        assert results["forces"].shape == (len(atoms), 3)
        assert results["stress"].shape == (6,)


def test_forces_of_a_structure_sum_to_zero(sample):
    # 32 forces up to 15 eV/A in float32, 6e-8 relative each
    assert max(np.abs(atoms.get_forces().sum(axis=0)).max() for atoms in sample) < 5e-5


def test_forces_are_no_larger_than_promised(sample, script):
    largest = max(np.linalg.norm(atoms.get_forces(), axis=1).max() for atoms in sample)
    assert largest <= script.LARGEST_FORCE


def test_stress_is_positive_under_tension(sample):
    """Cells of little rattle: compressed ones push, stretched ones pull."""
    volumes = [atoms for atoms in sample if atoms.info["config_type"].endswith("_volume")]
    order = np.argsort([atoms.get_volume() / len(atoms) for atoms in volumes])
    mean_stress = np.array([volumes[i].get_stress()[:3].mean() for i in order])
    fifth = len(volumes) // 5
    assert (mean_stress[:fifth] < 0).all()
    assert (mean_stress[-fifth:] > 0).all()


def test_atoms_keep_a_sane_distance(sample):
    # 1.6 A is below the first peak of every liquid of these elements, above any bound molecule
    for atoms in sample:
        close, _, _ = edges(atoms.positions, atoms.cell.array, atoms.pbc, cutoff=1.6)
        assert len(close) == 0, atoms.info


def test_energies_are_those_of_their_elements_to_an_electronvolt(sample):
    counts = np.array(
        [[list(atoms.symbols).count(e) for e in sorted(ELEMENTS)] for atoms in sample]
    )
    fractions = counts / counts.sum(axis=1, keepdims=True)
    energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in sample])
    fit = np.linalg.lstsq(fractions, energies, rcond=None)[0]
    assert np.abs(fractions @ fit - energies).max() < 1.0


def test_each_kind_of_structure_is_there_and_named(sample, script):
    kinds = Counter(atoms.info["config_type"] for atoms in sample)
    assert kinds.keys() == script.GROUPS.keys()
    assert all(kinds[name] > 0.8 * group.count for name, group in script.GROUPS.items())


def test_the_script_makes_these_structures(sample, script):
    """Positions and cells to the digits of the file; labels need the teacher."""
    made = script.structures(seed=0)
    for atoms in sample:
        planned = made[atoms.info["number"]]
        assert planned.info == atoms.info
        assert (planned.numbers == atoms.numbers).all()
        np.testing.assert_allclose(planned.positions, atoms.positions, atol=1e-8, rtol=0)
        np.testing.assert_allclose(planned.cell.array, atoms.cell.array, atol=1e-8, rtol=0)


def test_the_readme_counts_what_is_in_the_file(sample, script):
    text = (FOLDER / "README.md").read_text()
    assert f"{len(sample)} structures, {sum(map(len, sample))} atoms" in text
    assert script.summary(script.structures(seed=0), sample) in text
